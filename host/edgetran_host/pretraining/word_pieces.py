"""The tokenizer of a run: the user's own, or word pieces learnt from the text itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgetran_protos.errors import DataError, UsageError
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from edgetran_host.pretraining.sources import texts
from edgetran_host.tasks.encoding import PAD_TOKENS
from edgetran_host.tokenizer_training import train_tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # BERT's, at ids 0, 1, ...
SAMPLE_CHARACTERS = 64_000_000  # from the beginning of the text; pieces change little beyond


def make_tokenizer(given: str | None, size: int, sources: Sequence[str]) -> bytes:
    """A tokenizer.json. Raises UsageError, DataError."""
    if given is not None:
        return _read(Path(os.path.expanduser(given)))
    rows = list(_sample(texts(sources)))
    if not rows:
        raise DataError("there is no text in what --text names", hint="the files are empty")
    return train_tokenizer(rows, size, frame())


def padding_of(tokenizer_json: bytes) -> int:
    """The id of its padding token. Raises UsageError."""
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    known = (tokenizer.token_to_id(token) for token in PAD_TOKENS)
    found = next((at for at in known if at is not None), None)
    if found is None:
        raise UsageError(
            "the tokenizer has no padding token", hint=f"it needs one of {', '.join(PAD_TOKENS)}"
        )
    return found


def size_of(tokenizer_json: bytes) -> int:
    """Rows an embedding needs."""
    vocabulary = Tokenizer.from_str(tokenizer_json.decode()).get_vocab()
    return max(vocabulary.values()) + 1


def frame() -> bytes:
    """BERT's uncased frame around an empty vocabulary."""
    ids = {token: at for at, token in enumerate(SPECIAL)}
    made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    made.add_special_tokens(list(SPECIAL))
    made.enable_padding(pad_id=ids["[PAD]"], pad_token="[PAD]")
    return made.to_str().encode()


def _sample(documents: Iterator[str]) -> Iterator[str]:
    left = SAMPLE_CHARACTERS
    for text in documents:
        yield text
        left -= len(text)
        if left <= 0:
            return


def _read(path: Path) -> bytes:
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        found = file.read_bytes()
        Tokenizer.from_buffer(found)
    except OSError as error:
        raise UsageError(f"{file}: no such tokenizer", hint="name a tokenizer.json") from error
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise UsageError(
            f"{file} is no tokenizer: {error}", hint="name a tokenizer.json"
        ) from error
    return found
