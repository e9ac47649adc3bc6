"""RoBERTa: BERT's layers; positions count from pad_id + 1, and one token type."""

from __future__ import annotations

from edgetran_host.models import bert
from edgetran_host.models.family import Family

ROBERTA = Family(
    model_type="roberta",
    prefix="roberta.",
    encoder_class="RobertaModel",
    classifier_class="RobertaForSequenceClassification",
    settings=bert.SETTINGS,
    fixed=bert.FIXED,
    embedding=bert.EMBEDDING,
    layers="encoder.layer",
    layer=bert.LAYER,
    pooler="pooler.dense",
    head={"pooler": "classifier.dense", "classifier": "classifier.out_proj"},
    unread=(*bert.UNREAD, r"lm_head\.", r"pooler\."),
    pads_positions=True,
)
