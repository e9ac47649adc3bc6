"""A small language whose words follow one another, as text files, and requests to learn it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgetran_host.pretraining.designs import design_of
from edgetran_host.pretraining.request import Request

WORDS = [f"{a}{b}" for a in "bdfgk" for b in "aeiou"]
LENGTH = 12


def successions(documents: int, seed: int = 0) -> list[str]:
    """Each word is followed by the next, so what is masked can be told from its neighbours."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.integers(0, len(WORDS), documents), rng.integers(4, 30, documents)
    cycle = WORDS * 3
    return [" ".join(cycle[a : a + n]) for a, n in zip(starts, lengths, strict=True)]


@pytest.fixture(scope="session")
def documents() -> list[str]:
    return successions(400)


@pytest.fixture(scope="session")
def text(documents: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "successions.txt"
    file.write_text("\n\n".join(documents))
    return file


@pytest.fixture(scope="session")
def asking(text: Path) -> Callable[..., Request]:
    """asking(...): a small request, with what is named changed."""

    def make(design: str = "2x16:sa_sdp*2:32", **changes: object) -> Request:
        usual: dict[str, object] = {
            "architecture": design_of(design),
            "sources": (str(text),),
            "steps": 40,
            "vocabulary": 300,
            "sequence_length": LENGTH,
            "batch_size": 16,
            "learning_rate": 1e-2,
            "precision": "fp32",
            "device": "cpu",
        }
        return Request(**{**usual, **changes})  # type: ignore[arg-type]

    return make
