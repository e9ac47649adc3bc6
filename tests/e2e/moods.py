"""A small task of two moods, and a tiny encoder that almost knows it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

GOOD = ("great", "lovely", "superb", "warm", "bright")
BAD = ("awful", "dull", "grim", "stale", "weak")
FILLERS = ("the", "film", "was", "a", "story", "with", "cast", "and", "scenes", "that", "felt")
VOCABULARY = 4100  # just enough that there is something to trim
TRAIN_ROWS = 1000


def write_seed(folder: Path) -> Path:
    """A BERT that knows one thing: good and bad words lie on opposite sides."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*marks, *letters, *(f"##{x}" for x in letters), *GOOD, *BAD, *FILLERS]
    words = list(dict.fromkeys(words))
    words += [f"word{i}" for i in range(VOCABULARY - len(words))]
    torch.manual_seed(0)
    model = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=32,
        )
    )
    side = torch.randn(32).sign() / 2
    with torch.no_grad():
        for word in (*GOOD, *BAD):
            row = model.embeddings.word_embeddings.weight[words.index(word)]
            row += side if word in GOOD else -side
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words))
    made = tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"))
    (folder / "tokenizer.json").write_text(made.to_str())
    return folder


def sentence(mood: int, rng: random.Random) -> str:
    words = rng.choices(FILLERS, k=rng.randrange(3, 7))
    words.insert(rng.randrange(len(words) + 1), rng.choice((BAD, GOOD)[mood]))
    return " ".join(words)


def write_moods(folder: Path, train: int = TRAIN_ROWS, dev: int = 120) -> Path:
    rng = random.Random(0)
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("dev", dev)):
        moods = [rng.randrange(2) for _ in range(count)]
        lines = [f"{sentence(mood, rng)}\t{('bad', 'good')[mood]}" for mood in moods]
        (folder / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *lines, ""]))
    return folder
