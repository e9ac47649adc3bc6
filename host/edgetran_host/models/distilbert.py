"""DistilBERT: names of its own, no token types, a classifier behind a ReLU."""

from __future__ import annotations

from edgetran_host.models.family import Family

DISTILBERT = Family(
    model_type="distilbert",
    prefix="distilbert.",
    encoder_class="DistilBertModel",
    classifier_class="DistilBertForSequenceClassification",
    settings={
        "layers": ("n_layers",),
        "hidden": ("dim",),
        "heads": ("n_heads",),
        "feed_forward": ("hidden_dim",),
        "vocab_size": ("vocab_size",),
        "max_positions": ("max_position_embeddings",),
        "pad_id": ("pad_token_id",),
        "dropout": ("dropout", "attention_dropout", "seq_classif_dropout"),
    },
    fixed={"activation": "gelu"},
    embedding={
        "embedding.word": "embeddings.word_embeddings",
        "embedding.position": "embeddings.position_embeddings",
        "embedding.norm": "embeddings.LayerNorm",
    },
    layers="transformer.layer",
    layer={
        "heads.query": "attention.q_lin",
        "heads.key": "attention.k_lin",
        "heads.value": "attention.v_lin",
        "heads_out": "attention.out_lin",
        "heads_norm": "sa_layer_norm",
        "stack.0": "ffn.lin1",
        "stack_out": "ffn.lin2",
        "stack_norm": "output_layer_norm",
    },
    pooler=None,
    head={"pooler": "pre_classifier", "classifier": "classifier"},
    unread=(
        r"(pre_)?classifier\.",
        r"qa_outputs\.",
        r"vocab_(transform|layer_norm|projector)\.",
        r"embeddings\.position_ids$",
    ),
    pooler_activation="relu",
    token_types=False,
    norm_eps=1e-12,  # written into the library's code
)
