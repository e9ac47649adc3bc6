"""Small originals of every family that is read, with random weights, as the library saves them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer
from torch import Tensor

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "##s", "a"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEXTS = ["a good film", "bad films, all of them", "naïve", "good"]
BYTE_PAIRS = 290


def settings_of(family: str) -> dict[str, Any]:
    """A config of the family, no two sizes alike."""
    if family == "distilbert":
        return {
            "vocab_size": len(WORDS),
            "dim": 24,
            "n_layers": 3,
            "n_heads": 4,
            "hidden_dim": 40,
            "max_position_embeddings": 20,
        }
    found: dict[str, Any] = {
        "vocab_size": len(WORDS),
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 20,
    }
    if family == "electra":
        found["embedding_size"] = 16
    if family == "roberta":
        found |= {"vocab_size": BYTE_PAIRS, "max_position_embeddings": 22, "type_vocab_size": 1}
        found["layer_norm_eps"] = 1e-5
    return found


def make_original(
    family: str, folder: Path, head: str = "SequenceClassification", **changes: Any
) -> transformers.PreTrainedModel:
    """`head` names the class: AutoModelFor...; '' is the encoder alone. No weight is zero."""
    config = transformers.AutoConfig.for_model(family, **{**settings_of(family), **changes})
    config.num_labels = changes.get("num_labels", 3)
    maker = getattr(transformers, f"AutoModelFor{head}" if head else "AutoModel")
    torch.manual_seed(5)
    model = maker.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(mean=float("LayerNorm.weight" in name), std=0.3)
    folder.mkdir(exist_ok=True)
    model.save_pretrained(folder)
    if family == "roberta":
        write_byte_pairs(folder)
    else:
        write_word_pieces(folder)
    return model


def write_word_pieces(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    made = BertWordPieceTokenizer(str(folder / "vocab.txt"))
    (folder / "tokenizer.json").write_text(made.to_str())


def write_byte_pairs(folder: Path) -> None:
    """The two files RoBERTa came with; no tokenizer.json."""
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(
        TEXTS, vocab_size=BYTE_PAIRS, min_frequency=1, special_tokens=SPECIAL, show_progress=False
    )
    made.save_model(str(folder))


def make_inputs(vocabulary: int, pad_id: int, types: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of 12, 9 and 1 real tokens, the padding at the end; types of both kinds if there are."""
    rng = torch.Generator().manual_seed(3)
    ids = torch.randint(5, vocabulary, (3, 12), generator=rng)
    mask = (torch.arange(12) < torch.tensor([[12], [9], [1]])).long()
    both = torch.randint(0, types, (3, 12), generator=rng) * mask
    return torch.where(mask.bool(), ids, pad_id), mask, both


@pytest.fixture(scope="session")
def originals() -> ModuleType:
    return sys.modules[__name__]
