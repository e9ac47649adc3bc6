"""Files of documents, and what a tokenizer puts around a text.

A file is .txt or .txt.gz, UTF-8, with a blank line between documents; a very long document
is handed out in parts, so that no file has to fit in memory.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgetran_protos.errors import DataError, UsageError
from tokenizers import Tokenizer

ENDINGS = (".txt", ".txt.gz")
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
