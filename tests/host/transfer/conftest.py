"""Small random models of any architecture, with inputs, for cutting them down."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture
from torch import Tensor

VOCABULARY = 23
LENGTH = 7

Inputs = tuple[Tensor, Tensor, Tensor]


def make_model(
    architecture: Architecture,
    positions: str = "relative",
    pooling: str = "cls",
    outputs: int = 3,
    seed: int = 0,
) -> TextModel:
    """In double precision and with no weight zero, so that nothing agrees by chance."""
    torch.manual_seed(seed)
    config = ModelConfig(
        architecture=architecture,
        vocab_size=VOCABULARY,
        positions=positions,
        max_positions=LENGTH + 2,
        type_vocab_size=2,
        pad_id=1,
        layer_norm_eps=1e-9,
        dropout=0.1,
        pooling=pooling,
        outputs=outputs,
        sequence_length=LENGTH,
    )
    model = TextModel(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def make_inputs(rows: int = 5, seed: int = 1, vocabulary: int = VOCABULARY) -> Inputs:
    """Rows of every length from 2 on, padded."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, vocabulary, (rows, LENGTH), generator=rng)
    mask = (torch.arange(LENGTH) < 2 + torch.arange(rows)[:, None] % (LENGTH - 1)).long()
    types = torch.randint(0, 2, (rows, LENGTH), generator=rng) * mask
    return ids * mask + (1 - mask), mask, types


@pytest.fixture(scope="session")
def model_of() -> Callable[..., TextModel]:
    return make_model


@pytest.fixture(scope="session")
def inputs() -> Callable[..., Inputs]:
    return make_inputs
