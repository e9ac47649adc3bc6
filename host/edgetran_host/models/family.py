"""What one kind of foreign encoder calls its settings and its weights: data, no code.

Reading (`foreign_config`, `foreign_weights`) and writing (`saving_foreign`) go through
the same tables, so that a name stands in one place. Layouts are those of the
transformers library.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgetran_protos.errors import UsageError

FAMILIES = {  # model_type in config.json; where several can hold a model, the first is written
    "bert": "edgetran_host.models.bert:BERT",
    "roberta": "edgetran_host.models.roberta:ROBERTA",
    "distilbert": "edgetran_host.models.distilbert:DISTILBERT",
    "electra": "edgetran_host.models.electra:ELECTRA",
}

Names = Mapping[str, str]  # our module -> theirs


@dataclass(frozen=True)
class Family:
    """Modules without their prefix, `weight` and `bias`.

    settings    ours -> theirs in config.json; all are written, the first is read
    fixed       theirs -> the only value that computes what TextModel computes
    pooler      of the encoder itself, None: it has none
    head        of a text classifier: its 'pooler' and its 'classifier'
    unread      patterns of weights that neither encoder nor text classifier has
    """

    model_type: str
    prefix: str  # of the encoder inside a model with a head
    encoder_class: str
    classifier_class: str
    settings: Mapping[str, tuple[str, ...]]
    fixed: Mapping[str, object]
    embedding: Names
    layers: str  # the encoder's list of layers
    layer: Names
    pooler: str | None
    head: Names
    unread: tuple[str, ...]
    pooler_activation: str = "tanh"
    token_types: bool = True
    pads_positions: bool = False  # positions count from pad_id + 1
    norm_eps: float | None = None  # None: a setting

    def their_name(self, ours: str, classifier: bool) -> str:
        """Of a tensor of TextModel, without prefix; `classifier`: in a text classifier."""
        module, _, leaf = ours.rpartition(".")
        return f"{self._their_module(module, classifier)}.{leaf}"

    def stored_name(self, ours: str, classifier: bool) -> str:
        """As a checkpoint of a text classifier, or of the encoder alone, has it."""
        theirs = self.their_name(ours, classifier)
        own = ours.startswith("pooler.") and self.head["pooler"] != self.pooler
        inside = classifier and not own and not ours.startswith("classifier.")
        return self.prefix + theirs if inside else theirs

    def _their_module(self, module: str, classifier: bool) -> str:
        if module == "pooler" and self.pooler and not classifier:
            return self.pooler
        if module in self.head:
            return self.head[module]
        found = re.fullmatch(r"layers\.(\d+)\.(.+)", module)
        if found:
            return f"{self.layers}.{found[1]}.{self.layer[found[2]]}"
        return self.embedding[module]


def family_of(model_type: object, place: object) -> Family:
    """`place` is where the model type was found. Raises UsageError for an unknown one."""
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise UsageError(
            f"{place}: model_type is {model_type!r}, a seed needs one of {', '.join(FAMILIES)}",
            hint="only encoders with exact GELU and absolute positions fit",
        )
    module, _, attribute = FAMILIES[model_type].partition(":")
    found: Family = getattr(importlib.import_module(module), attribute)
    return found
