"""From strings to the model's tensors, and from its logits to answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgetran_protos.bundle import BundleCard
from edgetran_protos.errors import BundleError, InputError
from tokenizers import Tokenizer

from edgetran_daemon.runtimes.base import Tensor

CLASSIFICATION = "classification"
PAD_TOKENS = ("[PAD]", "<pad>", "<|padding|>")
MAX_ROWS = 1024  # a request; more belongs in several requests
MAX_CHARACTERS = 1_000_000  # a text; the tokenizer reads all before it cuts

Text = tuple[str, ...]  # one string, or two


@dataclass(frozen=True)
class Prediction:
    label: str  # empty for regression
    score: float  # probability of label, or the regression value
    scores: Mapping[str, float]  # every label's probability


class TextCodec:
    """The tokenizer and the labels of one bundle."""

    def __init__(self, card: BundleCard, tokenizer_json: bytes) -> None:
        self._task = card.task
        self._labels = tuple(card.labels)
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer_json.decode())
            self._fix_length(card.sequence_length)
        except Exception as exc:  # tokenizers raises bare Exception
            raise BundleError(
                f"bundle {card.name}: its tokenizer cannot be used: {exc}", hint="pack it again"
            ) from exc

    def _fix_length(self, length: int) -> None:
        """Every row gets `length` tokens, padded the way the tokenizer itself would."""
        padding = self._tokenizer.padding or {}
        known = {**_pad_of(self._tokenizer), **{k: v for k, v in padding.items() if k in PAD_KEYS}}
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(length=length, **known)

    def encode(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """input_ids, attention_mask, token_type_ids: int64 (rows, L)."""
        _check(texts)
        rows = [text[0] if len(text) == 1 else (text[0], text[1]) for text in texts]
        encoded = self._tokenizer.encode_batch(rows)
        return {
            "input_ids": np.array([row.ids for row in encoded], np.int64),
            "attention_mask": np.array([row.attention_mask for row in encoded], np.int64),
            "token_type_ids": np.array([row.type_ids for row in encoded], np.int64),
        }

    def decode(self, logits: Tensor) -> list[Prediction]:
        """logits (rows, outputs) -> one prediction a row."""
        if self._task != CLASSIFICATION:
            return [Prediction("", float(row[0]), {}) for row in logits]
        return [self._classified(row) for row in softmax(logits)]

    def _classified(self, probabilities: Tensor) -> Prediction:
        scores = dict(zip(self._labels, (float(p) for p in probabilities)))
        label = self._labels[int(np.argmax(probabilities))]
        return Prediction(label, scores[label], scores)


PAD_KEYS = ("pad_id", "pad_type_id", "pad_token", "direction")


def softmax(logits: Tensor) -> Tensor:
    """(rows, outputs) -> rows that sum to one, in double precision."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities: Tensor = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


def _pad_of(tokenizer: Any) -> dict[str, Any]:
    """The vocabulary's own padding token; id 0 where it has none we know."""
    for token in PAD_TOKENS:
        found = tokenizer.token_to_id(token)
        if found is not None:
            return {"pad_id": found, "pad_token": token}
    return {}


def _check(texts: Sequence[Text]) -> None:
    if not texts:
        raise InputError("there is no text to predict", hint="send at least one")
    if len(texts) > MAX_ROWS:
        raise InputError(f"{len(texts)} texts in one request", hint=f"send at most {MAX_ROWS}")
    longest = max(len(part) for text in texts for part in text)
    if longest > MAX_CHARACTERS:
        raise InputError(
            f"a text has {longest} characters", hint=f"send at most {MAX_CHARACTERS} a text"
        )
