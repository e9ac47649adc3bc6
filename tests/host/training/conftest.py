"""Small tasks whose answer is known, as token ids, and small models to learn them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.tasks import CLASSIFICATION, REGRESSION, Encoded, Row, Task

VOCABULARY = 40
LENGTH = 12
PAD, CLS, SEP = 0, 1, 2
FIRST_WORD = 4  # the words that matter; those from FILLER on mean nothing
FILLER = 12
KINDS = ("classes", "pairs", "values")

Toy = tuple[Task, Encoded, Encoded]


def make_toy(kind: str, rows: int = 64, seed: int = 0) -> Toy:
    """The task, its training rows and its dev rows.

    classes  which of three words occurs
    pairs    which of two words occurs in the second sentence; the first has either, too
    values   the mean worth of the words in a sentence
    """
    rng = np.random.default_rng(seed)
    train, dev = _rows(kind, rows, rng), _rows(kind, 200, rng)
    labels = {"classes": ("a", "b", "c"), "pairs": ("no", "yes"), "values": ()}[kind]
    words = [Row("", None, float(y) if kind == "values" else labels[int(y)]) for y in dev.labels]
    task = Task(
        name=kind,
        kind=REGRESSION if kind == "values" else CLASSIFICATION,
        labels=labels,
        pairs=kind == "pairs",
        metric="pearson_spearman" if kind == "values" else "accuracy",
        train=(),
        dev=tuple(words),
    )
    return task, train, dev


def _rows(kind: str, count: int, rng: np.random.Generator) -> Encoded:
    ids = np.full((count, LENGTH), PAD, np.int64)
    types = np.zeros((count, LENGTH), np.int64)
    labels = np.zeros(count, np.float32 if kind == "values" else np.int64)
    for row in range(count):
        sentence, second, labels[row] = _sentence(kind, rng)
        tokens = [CLS, *sentence, SEP, *([*second, SEP] if second else [])]
        ids[row, : len(tokens)] = tokens
        types[row, len(sentence) + 2 : len(tokens)] = 1
    return Encoded(ids, (ids != PAD).astype(np.int64), types, labels)


def _sentence(kind: str, rng: np.random.Generator) -> tuple[list[int], list[int], float]:
    if kind == "values":
        words = rng.integers(FIRST_WORD, FILLER, int(rng.integers(2, 9)))
        return words.tolist(), [], float((words - FIRST_WORD).mean())
    answer = int(rng.integers(3 if kind == "classes" else 2))
    if kind == "classes":
        return _hidden(FIRST_WORD + answer, int(rng.integers(2, 9)), rng), [], answer
    other = FIRST_WORD + int(rng.integers(2))
    return _hidden(other, 3, rng), _hidden(FIRST_WORD + answer, 4, rng), answer


def _hidden(word: int, length: int, rng: np.random.Generator) -> list[int]:
    """The word somewhere among others that mean nothing."""
    words = rng.integers(FILLER, VOCABULARY, length)
    words[rng.integers(length)] = word
    return [int(found) for found in words]


def make_model(
    outputs: int, heads: tuple[str, ...] = ("sa_sdp", "sa_sdp"), seed: int = 0
) -> TextModel:
    layer = Layer(hidden=16, heads=heads, head_size=8, feed_forward=(32,))
    torch.manual_seed(seed)
    return TextModel(
        ModelConfig(
            architecture=Architecture((layer, layer)),
            vocab_size=VOCABULARY,
            positions="absolute",
            max_positions=LENGTH,
            type_vocab_size=2,
            pad_id=PAD,
            layer_norm_eps=1e-12,
            dropout=0.1,
            pooling="mean",
            outputs=outputs,
            sequence_length=LENGTH,
        )
    )


@pytest.fixture(scope="session")
def toy() -> Callable[..., Toy]:
    return make_toy


@pytest.fixture(scope="session")
def fresh() -> Callable[..., TextModel]:
    """fresh(outputs): the same random model at every call."""
    return make_model
