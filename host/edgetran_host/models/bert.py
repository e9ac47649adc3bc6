"""BERT, and what is built like it: MiniLM among others."""

from __future__ import annotations

from edgetran_host.models.family import Family

SETTINGS = {
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "feed_forward": ("intermediate_size",),
    "vocab_size": ("vocab_size",),
    "max_positions": ("max_position_embeddings",),
    "type_vocab_size": ("type_vocab_size",),
    "pad_id": ("pad_token_id",),
    "layer_norm_eps": ("layer_norm_eps",),
    "dropout": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
}
FIXED = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
EMBEDDING = {
    "embedding.word": "embeddings.word_embeddings",
    "embedding.position": "embeddings.position_embeddings",
    "embedding.token_type": "embeddings.token_type_embeddings",
    "embedding.norm": "embeddings.LayerNorm",
}
LAYER = {
    "heads.query": "attention.self.query",
    "heads.key": "attention.self.key",
    "heads.value": "attention.self.value",
    "heads_out": "attention.output.dense",
    "heads_norm": "attention.output.LayerNorm",
    "stack.0": "intermediate.dense",
    "stack_out": "output.dense",
    "stack_norm": "output.LayerNorm",
}
UNREAD = (r"cls\.", r"classifier\.", r"qa_outputs\.", r"embeddings\.position_ids$")

BERT = Family(
    model_type="bert",
    prefix="bert.",
    encoder_class="BertModel",
    classifier_class="BertForSequenceClassification",
    settings=SETTINGS,
    fixed=FIXED,
    embedding=EMBEDDING,
    layers="encoder.layer",
    layer=LAYER,
    pooler="pooler.dense",
    head={"pooler": "pooler.dense", "classifier": "classifier"},
    unread=UNREAD,
)
