"""A few small models with real tokens, exported once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from edgetran_host.export.graph import export_graph
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.seeds import load_seed
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.tasks import Encoded, Row, Task, encode
from edgetran_host.vocabulary import trim_tokenizer

LENGTH = 12
OUTPUTS = 3
ROWS = tuple(
    Row(text, pair, "0")
    for text, pair in (
        ("Turn on the lights in the living room, please!", "so be it"),
        ("a charming journey", "and often affecting"),
        ("no", "yes"),
        ("the film is a dreadful, dreadful bore of a film", "nobody laughed at it"),
        ("?", "what time is it"),
    )
)
VOCABULARY = 400


def wide(*heads: str, hidden: int, size: int, stack: tuple[int, ...]) -> Layer:
    return Layer(hidden=hidden, heads=heads, head_size=size, feed_forward=stack)


PLAIN = Architecture((wide("sa_sdp", "sa_sdp", hidden=16, size=8, stack=(24,)),) * 2)
MIXED = Architecture(  # attention narrower and wider than the layer, stacks, odd widths
    (
        wide(*HEAD_KINDS, hidden=18, size=3, stack=(11, 20)),
        wide("sa_sdp", "c_9", "c_9", hidden=23, size=10, stack=(7,)),
    )
)
FIXED = Architecture((wide("l_dft", "l_dft", "l_dct", "c_5", hidden=14, size=6, stack=(9,)),))
MODELS = {  # name -> architecture, positions, pooling, lt_scale, token types
    "plain": (PLAIN, "absolute", "mean", True, 2),
    "first": (PLAIN, "absolute", "cls", True, 2),
    "mixed": (MIXED, "relative", "cls", True, 2),
    "fixed": (FIXED, "absolute", "mean", False, 1),
}


@dataclass(frozen=True)
class Sample:
    """A model in evaluation mode, and its graph."""

    model: TextModel
    path: Path


@pytest.fixture(scope="session")
def rows() -> Encoded:
    texts = [text for row in ROWS for text in (row.text, row.text_pair) if text]
    tokenizer_json, _ = trim_tokenizer(load_seed("minilm").tokenizer_json, texts, VOCABULARY)
    task = Task("t", "classification", ("0", "1", "2"), True, "accuracy", ROWS, ROWS)
    return encode(tokenizer_json, ROWS, LENGTH, task)


def build(key: str) -> TextModel:
    """Weights large enough that every part shows in the logits."""
    architecture, positions, pooling, lt_scale, types = MODELS[key]
    torch.manual_seed(0)
    model = TextModel(
        ModelConfig(
            architecture=architecture,
            vocab_size=VOCABULARY,
            positions=positions,
            max_positions=16,
            type_vocab_size=types,
            pad_id=0,
            layer_norm_eps=1e-6,
            dropout=0.1,
            pooling=pooling,
            outputs=OUTPUTS,
            sequence_length=LENGTH,
            lt_scale=lt_scale,
        )
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.normal_(mean=1.0, std=0.1)
            else:
                weight.normal_(std=0.4)
    return model.eval()


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sample]:
    """The model of that name in MODELS and its float graph."""
    folder = tmp_path_factory.mktemp("graphs")

    @lru_cache
    def make(name: str) -> Sample:
        model = build(name)
        export_graph(model, folder / f"{name}.onnx")
        return Sample(model, folder / f"{name}.onnx")

    return make
