"""Raw text for pre-training: files of documents to rows of L tokens.

A file is .txt or .txt.gz, UTF-8, with a blank line between documents; a very long document
is handed out in parts, so that no file has to fit in memory. A document is cut into chunks
that fill a row, special tokens included; only its last chunk is shorter.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from edgetran_protos.errors import DataError, UsageError
from tokenizers import Tokenizer

from edgetran_host.tasks import Encoded

ENDINGS = (".txt", ".txt.gz")
DOCUMENTS_AT_ONCE = 1000  # tokenised together
PART_CHARACTERS = 100_000  # of a document, or of a line


def documents(paths: Sequence[Path]) -> Iterator[str]:
    """Each without its line ends. Raises DataError for what is no such file."""
    for path in paths:
        if not path.name.endswith(ENDINGS):
            raise DataError(f"{path} is no text file", hint=f"name it {' or '.join(ENDINGS)}")
        lines: list[str] = []
        characters = 0
        for line in _lines(path):
            if line.strip():
                lines.append(line.strip())
                characters += len(line)
            if lines and (not line.strip() or characters >= PART_CHARACTERS):
                yield " ".join(lines)
                lines, characters = [], 0
        if lines:
            yield " ".join(lines)


def chunks(
    tokenizer_json: bytes, texts: Iterator[str], sequence_length: int, pad_id: int
) -> Encoded:
    """Rows of L; all labels are 0, for nothing is asked about a row as a whole."""
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    before, after = special_frame(tokenizer)
    room = sequence_length - len(before) - len(after)
    if room < 1:
        raise UsageError(f"a sequence length of {sequence_length} holds no text")
    rows: list[list[int]] = []
    for batch in _grouped(texts):
        for found in tokenizer.encode_batch(batch, add_special_tokens=False):
            cuts = range(0, len(found.ids), room)
            rows += [[*before, *found.ids[at : at + room], *after] for at in cuts]
    ids = np.full((len(rows), sequence_length), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for row, (row_ids, row_mask) in zip(rows, zip(ids, mask)):
        row_ids[: len(row)] = row
        row_mask[: len(row)] = 1
    return Encoded(ids, mask, np.zeros_like(ids), np.zeros(len(rows), np.int64))


def special_frame(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after a text."""
    framed = tokenizer.encode("a")
    inside = [at for at, special in enumerate(framed.special_tokens_mask) if not special]
    if not inside:
        raise UsageError("the tokenizer makes nothing of a letter")
    return framed.ids[: inside[0]], framed.ids[inside[-1] + 1 :]


def _lines(path: Path) -> Iterator[str]:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            begun = ""  # of a line that is too long: the word that its last part was cut in
            while line := file.readline(PART_CHARACTERS):
                line = begun + line
                end = len(line) if line.endswith("\n") else line.rfind(" ") + 1 or len(line)
                yield line[:end]
                begun = line[end:]
            if begun:
                yield begun
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _grouped(texts: Iterator[str]) -> Iterator[list[str]]:
    group: list[str] = []
    for text in texts:
        group.append(text)
        if len(group) == DOCUMENTS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group
