"""Real text, and a byte-level BPE tokenizer made of it as RoBERTa's is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgetran_host.tasks import load_task
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
PROSE = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/boards.md")


@pytest.fixture(scope="session")
def prose() -> list[str]:
    """Paragraphs of the project's own pages."""
    root = Path(__file__).resolve().parents[2]
    pages = [(root / name).read_text(encoding="utf-8") for name in PROSE]
    return [part for page in pages for part in page.split("\n\n") if part.strip()]


@pytest.fixture(scope="session")
def commands() -> list[str]:
    """What people say to their homes."""
    return [row.text for row in load_task("intents").train[:2000]]


@pytest.fixture(scope="session")
def byte_level(prose: list[str], commands: list[str]) -> bytes:
    """3,000 pieces."""
    made = ByteLevelBPETokenizer(trim_offsets=True)
    made.train_from_iterator(
        [*prose, *commands], 3000, min_frequency=1, special_tokens=SPECIAL, show_progress=False
    )
    made.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    return str(made.to_str()).encode()


@pytest.fixture(scope="session")
def small_byte_level() -> Callable[..., bytes]:
    def make(merges: list[Any], more: tuple[str, ...] = (), **changes: Any) -> bytes:
        """All bytes by their order, then `more`, then what the merges result in."""
        pieces = sorted(ByteLevelBPETokenizer().pre_tokenizer.alphabet())
        pairs = [tuple(m.split(" ")) if isinstance(m, str) else m for m in merges]
        results = [left + right for left, right in pairs]
        names = list(dict.fromkeys([*pieces, *more, *results]))
        raw = {
            "version": "1.0",
            "added_tokens": [],
            "normalizer": None,
            "pre_tokenizer": {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": True,
            },
            "post_processor": None,
            "decoder": {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": True,
            },
            "model": {
                "type": "BPE",
                "vocab": {piece: at for at, piece in enumerate(names)},
                "merges": merges,
            },
        }
        return json.dumps({**raw, **changes}).encode()

    return make
