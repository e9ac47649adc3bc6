"""Rows to token ids, exactly as a board's tokenizer makes them: padded to one length L."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from edgetran_protos.errors import UsageError
from numpy.typing import NDArray
from tokenizers import Tokenizer

from edgetran_host.tasks.task import REGRESSION, Row, Task

LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # what L may be; few, so artefacts compare
COVERED = 0.99  # share of training rows that L must hold whole
PAD_TOKENS = ("[PAD]", "<pad>", "<|padding|>")

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    input_ids: Ids  # (rows, L)
    attention_mask: Ids  # (rows, L), 1 on real tokens
    token_type_ids: Ids  # (rows, L)
    labels: NDArray[np.int64] | NDArray[np.float32]  # (rows,): index of the label, or the value

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, rows: slice) -> Encoded:
        return Encoded(
            self.input_ids[rows],
            self.attention_mask[rows],
            self.token_type_ids[rows],
            self.labels[rows],
        )


def encode(tokenizer_json: bytes, rows: Sequence[Row], sequence_length: int, task: Task) -> Encoded:
    """Raises UsageError when the tokenizer cannot pad, or L holds nothing of a text."""
    tokenizer = _tokenizer(tokenizer_json)
    shortest = tokenizer.num_special_tokens_to_add(task.pairs) + 1 + task.pairs
    if sequence_length < shortest:
        raise UsageError(
            f"a sequence length of {sequence_length} holds no text",
            hint=f"this tokenizer needs at least {shortest}",
        )
    tokenizer.enable_truncation(sequence_length)
    tokenizer.enable_padding(length=sequence_length, **_padding(tokenizer_json))
    found = tokenizer.encode_batch(_inputs(rows))
    width = (len(rows), sequence_length)
    return Encoded(
        np.array([row.ids for row in found], np.int64).reshape(width),
        np.array([row.attention_mask for row in found], np.int64).reshape(width),
        np.array([row.type_ids for row in found], np.int64).reshape(width),
        _labels(rows, task),
    )


def choose_sequence_length(tokenizer_json: bytes, task: Task) -> int:
    """The smallest length that holds nearly all training rows whole."""
    tokenizer = _tokenizer(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts = [len(row.ids) for row in tokenizer.encode_batch(_inputs(task.train))]
    wanted = float(np.quantile(counts, COVERED))
    return next((length for length in LENGTHS if length >= wanted), LENGTHS[-1])


def _labels(rows: Sequence[Row], task: Task) -> NDArray[np.int64] | NDArray[np.float32]:
    if task.kind == REGRESSION:
        return np.array([float(row.label) for row in rows], np.float32)
    index = {label: i for i, label in enumerate(task.labels)}
    return np.array([index[str(row.label)] for row in rows], np.int64)


def _inputs(rows: Iterable[Row]) -> list[str | tuple[str, str]]:
    return [row.text if row.text_pair is None else (row.text, row.text_pair) for row in rows]


def _tokenizer(tokenizer_json: bytes) -> Tokenizer:
    """Shared by all callers, who set its truncation and padding before they use it."""
    return _read(tokenizer_json)[0]


@lru_cache(maxsize=8)
def _read(tokenizer_json: bytes) -> tuple[Tokenizer, dict[str, int | str] | None]:
    """The tokenizer, and the padding that tokenizer.json itself asks for."""
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    except Exception as exc:  # tokenizers raises bare Exception
        raise UsageError(
            f"the tokenizer cannot be read: {exc}", hint="give a seed with a whole tokenizer.json"
        ) from exc
    return tokenizer, tokenizer.padding


def _padding(tokenizer_json: bytes) -> dict[str, int | str]:
    """As a board pads: by the tokenizer's own rule, or by the padding token it has."""
    tokenizer, own = _read(tokenizer_json)
    if own is not None:
        if own["direction"] != "right":
            raise UsageError(
                "the tokenizer pads on the left; models here read padding on the right",
                hint='set "direction": "Right" under "padding" in its tokenizer.json',
            )
        return {key: own[key] for key in ("pad_id", "pad_type_id", "pad_token")}
    for token in PAD_TOKENS:
        found = tokenizer.token_to_id(token)
        if found is not None:
            return {"pad_id": found, "pad_token": token}
    raise UsageError(
        "the tokenizer has no padding token", hint=f"it needs one of {', '.join(PAD_TOKENS)}"
    )
