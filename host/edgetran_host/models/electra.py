"""ELECTRA: BERT's layers behind an embedding of another width; a classifier behind a GELU."""

from __future__ import annotations

from edgetran_host.models import bert
from edgetran_host.models.family import Family

ELECTRA = Family(
    model_type="electra",
    prefix="electra.",
    encoder_class="ElectraModel",
    classifier_class="ElectraForSequenceClassification",
    settings={**bert.SETTINGS, "embedding_width": ("embedding_size",)},
    fixed=bert.FIXED,
    embedding={**bert.EMBEDDING, "embedding.project": "embeddings_project"},
    layers="encoder.layer",
    layer=bert.LAYER,
    pooler=None,
    head={"pooler": "classifier.dense", "classifier": "classifier.out_proj"},
    unread=(
        *bert.UNREAD,
        r"(discriminator|generator)_predictions\.",
        r"generator_lm_head\.",
        r"sequence_summary\.",
    ),
    pooler_activation="gelu",
)
