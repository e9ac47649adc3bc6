"""A foreign encoder's tokenizer.json, made from its vocabulary where only that is there."""

from __future__ import annotations

from pathlib import Path

from edgetran_protos.errors import UsageError
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer, Tokenizer
from tokenizers.processors import RobertaProcessing

from edgetran_host.models.config import ModelConfig
from edgetran_host.models.foreign_config import HINT, read_json

BYTE_PAIRS = ("vocab.json", "merges.txt")
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # RoBERTa's


def read_tokenizer(folder: Path, config: ModelConfig) -> bytes:
    """All its ids are embedded. Raises UsageError otherwise."""
    found = _tokenizer(folder)
    try:
        largest = max(Tokenizer.from_buffer(found).get_vocab().values(), default=-1)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise UsageError(f"{folder}: tokenizer.json is not readable: {error}", hint=HINT) from error
    if largest >= config.vocab_size:
        raise UsageError(
            f"{folder}: the tokenizer gives ids up to {largest}, "
            f"the weights embed {config.vocab_size}",
            hint="use the tokenizer the weights were trained with",
        )
    return found


def _tokenizer(folder: Path) -> bytes:
    file = folder / "tokenizer.json"
    if file.is_file():
        return file.read_bytes()
    if (folder / "vocab.txt").is_file():
        lower = bool(_settings(folder).get("do_lower_case", True))
        made = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lower)
        return str(made.to_str()).encode()
    if all((folder / name).is_file() for name in BYTE_PAIRS):
        return _byte_pairs(folder)
    raise UsageError(
        f"{folder} has neither tokenizer.json nor vocab.txt nor {' and '.join(BYTE_PAIRS)}",
        hint=HINT,
    )


def _byte_pairs(folder: Path) -> bytes:
    """As RoBERTa's own tokenizer: <s> text </s>, and </s></s> between two texts."""
    before = bool(_settings(folder).get("add_prefix_space", False))
    vocab, merges = (str(folder / name) for name in BYTE_PAIRS)
    try:
        made = ByteLevelBPETokenizer(vocab, merges, add_prefix_space=before, trim_offsets=True)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise UsageError(f"{folder}: vocab.json is not readable: {error}", hint=HINT) from error
    made.add_special_tokens([token for token in SPECIAL if made.token_to_id(token) is not None])
    start, end = (made.token_to_id(token) for token in ("<s>", "</s>"))
    if start is None or end is None:
        raise UsageError(f"{folder}: vocab.json lacks <s> or </s>", hint=HINT)
    made.post_processor = RobertaProcessing(
        ("</s>", end), ("<s>", start), trim_offsets=True, add_prefix_space=before
    )
    return str(made.to_str()).encode()


def _settings(folder: Path) -> dict[str, object]:
    file = folder / "tokenizer_config.json"
    return read_json(file) if file.is_file() else {}
