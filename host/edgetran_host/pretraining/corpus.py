"""A corpus as token ids on disk: prepared once in the run's folder, then only mapped.

    tokens/index.json        what is there; written after the shards that it names
    tokens/train-00000.bin   ids of many documents end to end, a separator behind each
    tokens/held-out.bin      those of every 50th document, until there are enough

A preparation that was cut goes on behind the last whole shard. Nothing here needs the
corpus in memory: documents come one by one, shards are mapped, windows are copied.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_protos.errors import DataError, UsageError
from numpy.typing import NDArray
from tokenizers import Tokenizer

from edgetran_host.job.run_directory import write_atomically
from edgetran_host.pretraining.documents import special_frame
from edgetran_host.pretraining.masking import CHOSEN
from edgetran_host.pretraining.sources import texts

INDEX = "index.json"
HELD_OUT = "held-out.bin"
SHARD_TOKENS = 1 << 26
HELD_OUT_EVERY = 50  # documents
HELD_OUT_TOKENS = 1 << 15  # asked for 15 %: the loss is known within 0.04
GROUP_CHARACTERS = 4_000_000  # tokenised together
SMALL_IDS = 1 << 16  # a vocabulary up to this fits two bytes an id

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    name: str
    tokens: int
    documents: int  # read for it, held-out ones included


@dataclass(frozen=True)
class Corpus:
    """Prepared text. `before` and `after` frame every row."""

    folder: Path
    id_type: str
    shards: tuple[Shard, ...]
    held_out_tokens: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)

    @staticmethod
    def open(folder: Path) -> Corpus | None:
        """None: it is not prepared, or not to the end."""
        raw = _read_index(folder)
        if raw is None or not raw["finished"]:
            return None
        shards = tuple(Shard(**shard) for shard in raw["shards"])
        frame = tuple(raw["before"]), tuple(raw["after"])
        return Corpus(folder, raw["id_type"], shards, raw["held_out_tokens"], *frame)


class Windows:
    """Rows of L ids out of files of ids: window i is always the same row."""

    def __init__(self, corpus: Corpus, sequence_length: int, *, held_out: bool = False) -> None:
        """Raises UsageError, or DataError when not one row can be filled."""
        self.length = sequence_length
        self._corpus = corpus
        self._room = sequence_length - len(corpus.before) - len(corpus.after)
        if self._room < 1:
            raise UsageError(
                f"a sequence length of {sequence_length} holds no text",
                hint="choose a longer --sequence-length",
            )
        shards = (
            [(HELD_OUT, corpus.held_out_tokens)]
            if held_out
            else [(shard.name, shard.tokens) for shard in corpus.shards]
        )
        self._files = [
            np.asarray(np.memmap(corpus.folder / name, corpus.id_type, "r", shape=(tokens,)))
            for name, tokens in shards
            if tokens
        ]
        counts = [len(file) // self._room for file in self._files]
        self._ends = np.cumsum([0, *counts])
        if not len(self):
            what = "what is held out of the text" if held_out else "the text"
            raise DataError(
                f"{what} is too short to fill one row of {sequence_length} tokens",
                hint="give more --text, or a shorter --sequence-length",
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def asked(self) -> int:
        """Tokens to guess in every row."""
        return max(1, round(CHOSEN * self._room))

    def rows(self, windows: Ids) -> Ids:
        """windows (k,) -> (k, L)."""
        found = np.empty((len(windows), self.length), np.int64)
        first, last = len(self._corpus.before), self.length - len(self._corpus.after)
        found[:, :first], found[:, last:] = self._corpus.before, self._corpus.after
        files = np.searchsorted(self._ends, windows, side="right") - 1
        steps = np.arange(self._room)
        for file in np.unique(files):
            here = files == file
            begins = (windows[here] - self._ends[file]) * self._room
            found[here, first:last] = self._files[file][begins[:, None] + steps]
        return found


def prepare(
    folder: Path, tokenizer_json: bytes, sources: Sequence[str], on_progress: OnProgress = ignore
) -> Corpus:
    """The corpus in `folder`, made as far as it is not there. Raises DataError."""
    found = Corpus.open(folder)
    if found is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    writer = _Writer(folder, tokenizer_json)
    writer.add(texts(sources), on_progress)
    corpus = Corpus.open(folder)
    assert corpus is not None
    return corpus


class _Writer:
    """Fills shards; knows from the index which documents are in them already."""

    def __init__(self, folder: Path, tokenizer_json: bytes) -> None:
        self._folder = folder
        self._tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        before, after = special_frame(self._tokenizer)
        self._frame = {"before": before, "after": after}
        largest = max(self._tokenizer.get_vocab().values())
        self._id_type = "uint16" if largest < SMALL_IDS else "uint32"
        self._shards: list[Shard] = []
        self._held_out: list[NDArray[np.generic]] = []
        self._held_out_tokens = 0
        self._resume()

    def add(self, documents: Iterator[str], on_progress: OnProgress) -> None:
        begun = sum(shard.documents for shard in self._shards)
        parts: list[NDArray[np.generic]] = []
        tokens = read = 0
        for number, ids in self._tokenised(itertools.islice(documents, begun, None), begun):
            read += 1
            if number % HELD_OUT_EVERY == 0 and self._held_out_tokens < HELD_OUT_TOKENS:
                self._held_out.append(ids)
                self._held_out_tokens += len(ids)
            else:
                parts.append(ids)
                tokens += len(ids)
            if tokens >= SHARD_TOKENS:
                self._write_shard(parts, read)
                parts, tokens, read = [], 0, 0
            if number % HELD_OUT_EVERY == 0:
                done = sum(shard.tokens for shard in self._shards) + tokens
                on_progress(Progress("reading text", 0, 0, f"{done / 1e6:.1f} M tokens"))
        if parts or not self._shards:
            self._write_shard(parts, read)
        self._write_index(finished=True)
        done = sum(shard.tokens for shard in self._shards)
        on_progress(Progress("reading text", 1, 1, f"{done / 1e6:.1f} M tokens"))

    def _tokenised(
        self, documents: Iterator[str], first: int
    ) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """Number and ids of each, its separator included."""
        numbers = itertools.count(first)
        separator = self._frame["after"][-1:]
        for group in _grouped(documents):
            for found in self._tokenizer.encode_batch_fast(group, add_special_tokens=False):
                yield next(numbers), np.array([*found.ids, *separator], self._id_type)

    def _resume(self) -> None:
        raw = _read_index(self._folder)
        if raw is None:
            return
        self._shards = [Shard(**shard) for shard in raw["shards"]]
        self._held_out_tokens = raw["held_out_tokens"]
        held_out = np.fromfile(self._folder / HELD_OUT, self._id_type)
        self._held_out = [held_out[: self._held_out_tokens]]

    def _write_shard(self, parts: list[NDArray[np.generic]], documents: int) -> None:
        """And what was held out by then."""
        name = f"train-{len(self._shards):05}.bin"
        ids = np.concatenate([np.empty(0, self._id_type), *parts])
        held_out = np.concatenate([np.empty(0, self._id_type), *self._held_out])
        write_atomically(self._folder / name, ids.tobytes())
        write_atomically(self._folder / HELD_OUT, held_out.tobytes())
        self._shards.append(Shard(name, len(ids), documents))
        self._write_index(finished=False)

    def _write_index(self, *, finished: bool) -> None:
        index = {
            "finished": finished,
            "id_type": self._id_type,
            "held_out_tokens": self._held_out_tokens,
            "shards": [asdict(shard) for shard in self._shards],
            **self._frame,
        }
        write_atomically(self._folder / INDEX, json.dumps(index, indent=1).encode())


def _grouped(documents: Iterator[str]) -> Iterator[list[str]]:
    group: list[str] = []
    characters = 0
    for text in documents:
        group.append(text)
        characters += len(text)
        if characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _read_index(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / INDEX).read_bytes())
        return found
    except FileNotFoundError:
        return None
