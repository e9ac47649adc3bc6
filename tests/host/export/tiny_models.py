"""Small random models with logits of order one, and rows to run them on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgetran_host.export.litert import converter_python
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.tasks import Encoded
from edgetran_protos.errors import ExportError

VOCABULARY, LENGTH, OUTPUTS = 50, 16, 3
WEIGHT_STD = 0.2  # BERT's 0.02 would leave logits near zero and every error small

MIXED = (
    Layer(hidden=24, heads=HEAD_KINDS, head_size=4, feed_forward=(32, 16)),
    Layer(hidden=16, heads=("sa_sdp",), head_size=8, feed_forward=(24,)),
)


def one_kind(kind: str) -> tuple[Layer, ...]:
    return (Layer(hidden=16, heads=(kind, kind), head_size=8, feed_forward=(24,)),)


def make_model(layers: tuple[Layer, ...], positions: str, pooling: str = "cls") -> TextModel:
    torch.manual_seed(0)
    model = TextModel(
        ModelConfig(
            architecture=Architecture(layers),
            vocab_size=VOCABULARY,
            positions=positions,
            max_positions=40,
            type_vocab_size=2,
            pad_id=0,
            layer_norm_eps=1e-6,
            dropout=0.1,
            pooling=pooling,
            outputs=OUTPUTS,
            sequence_length=LENGTH,
        )
    )
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, WEIGHT_STD)
    return model.eval()


def make_rows(count: int = 6, seed: int = 0) -> Encoded:
    """Padded rows of different lengths, some with a second text."""
    rng = np.random.default_rng(seed)
    mask = (np.arange(LENGTH) < rng.integers(3, LENGTH + 1, size=(count, 1))).astype(np.int64)
    types = (np.arange(LENGTH) >= rng.integers(2, LENGTH + 1, size=(count, 1))) * mask
    ids = rng.integers(1, VOCABULARY, size=(count, LENGTH)) * mask
    return Encoded(ids, mask, types.astype(np.int64), np.zeros(count, np.int64))


def skip_without_exporter(runtime: str) -> None:
    """Skips with what to install where this machine cannot export for `runtime`."""
    if runtime != "litert":
        return
    try:
        converter_python()
    except ExportError as exc:
        pytest.skip(f"{exc}: {exc.hint}")
