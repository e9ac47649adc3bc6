"""Masked-LM: files to rows, which tokens are asked about, learning, and interruption."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_host.training import (
    MaskedWords,
    Masking,
    Recipe,
    chunks,
    documents,
    loop,
    perplexity,
    pretrain,
)
from edgetran_host.training.batches import take
from edgetran_host.training.masking import IGNORED
from edgetran_protos.errors import DataError, UsageError
from tokenizers import Tokenizer, models, pre_tokenizers, processors

Models = Callable[..., TextModel]

PAD, CLS, SEP, MASK, UNKNOWN = range(5)
LENGTH, VOCABULARY = 12, 40
WORDS = [f"w{i}" for i in range(5, VOCABULARY)]


def tokenizer_json(mask: str = "[MASK]") -> bytes:
    names = ["[PAD]", "[CLS]", "[SEP]", mask, "[UNK]", *WORDS]
    vocabulary = {name: at for at, name in enumerate(names)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", mask])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return made.to_str().encode()


def successions(rows: int, seed: int) -> list[str]:
    """Each word is followed by the next, so what is masked can be told from its neighbours."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.integers(0, 20, rows), rng.integers(4, 11, rows)
    return [" ".join(WORDS[a : a + n]) for a, n in zip(starts, lengths, strict=True)]


def rows_of(texts: list[str]) -> Encoded:
    return chunks(tokenizer_json(), iter(texts), LENGTH, PAD)


@pytest.fixture
def masking() -> Masking:
    return Masking.of(tokenizer_json(), VOCABULARY, PAD, seed=3)


class TestCorpus:
    def test_documents(self, tmp_path: Path) -> None:
        plain, packed = tmp_path / "a.txt", tmp_path / "b.txt.gz"
        plain.write_text("\n\none\ntwo\n\n \n\nthree", encoding="utf-8")
        packed.write_bytes(gzip.compress("vier\n\nfünf\n".encode()))
        assert list(documents([plain, packed])) == ["one two", "three", "vier", "fünf"]

    @pytest.mark.parametrize(
        ("name", "content"),
        [("a.csv", b"x"), ("a.txt", b"\xff\xfe"), ("a.txt.gz", b"x"), ("absent.txt", None)],
    )
    def test_no_such_file(self, tmp_path: Path, name: str, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            list(documents([tmp_path / name]))

    def test_half_a_packed_file(self, tmp_path: Path) -> None:
        whole = gzip.compress(b"one two three\n" * 1000)
        (tmp_path / "a.txt.gz").write_bytes(whole[:-20])
        with pytest.raises(DataError, match="cannot be read"):
            list(documents([tmp_path / "a.txt.gz"]))

    def test_chunks_hold_every_token_once(self) -> None:
        texts = [" ".join(WORDS[:n]) for n in (1, 10, 11, 25)]
        data = rows_of(texts)
        assert data.attention_mask.sum(1).tolist() == [3, 12, 12, 3, 12, 12, 7]
        assert (data.input_ids[:, 0] == CLS).all()
        words = data.input_ids[data.input_ids > UNKNOWN]
        assert words.tolist() == [5 + i for n in (1, 10, 11, 25) for i in range(n)]
        ends = data.attention_mask.sum(1) - 1
        assert (data.input_ids[np.arange(len(data)), ends] == SEP).all()
        assert (data.input_ids[data.attention_mask == 0] == PAD).all()

    def test_no_room(self) -> None:
        with pytest.raises(UsageError, match="length of 2"):
            chunks(tokenizer_json(), iter(["w5"]), 2, PAD)


class TestMasking:
    def test_shares(self, masking: Masking) -> None:
        data = rows_of([" ".join(WORDS[:10])] * 4000)
        before = take(data, np.arange(4000))
        after = masking(before, 0)
        asked = after.labels != IGNORED
        assert (asked.sum(1) == 2).all()  # 15 % of ten words
        assert torch.equal(after.labels[asked], before.input_ids[asked])
        assert torch.equal(after.input_ids[~asked], before.input_ids[~asked])
        found, was = after.input_ids[asked], before.input_ids[asked]
        shares = [(found == MASK).float().mean().item(), (found == was).float().mean().item()]
        assert shares == pytest.approx([0.8, 0.1 + 0.1 / 36], abs=0.015)
        assert asked.float().mean(0)[1:11].tolist() == pytest.approx([0.2] * 10, abs=0.03)

    def test_never_special_or_padding(self, masking: Masking) -> None:
        data = rows_of(successions(500, 0))
        before = take(data, np.arange(500))
        for epoch in range(5):
            after = masking(before, epoch)
            asked = after.labels != IGNORED
            assert before.input_ids[asked].min() > MASK
            assert after.input_ids[asked].min() >= MASK  # nor put in a word's place
            assert (asked.sum(1) >= 1).all()

    def test_follows_from_seed_epoch_and_row_alone(self, masking: Masking) -> None:
        data = rows_of(successions(64, 0))
        whole = masking(take(data, np.arange(64)), 1)
        some = masking(take(data, np.array([40, 7])), 1)
        width = some.labels.shape[1]
        assert torch.equal(some.labels, whole.labels[[40, 7], :width])
        assert torch.equal(some.input_ids, whole.input_ids[[40, 7], :width])
        other = Masking.of(tokenizer_json(), VOCABULARY, PAD, seed=4)
        for changed in (masking(take(data, np.arange(64)), 2), other(take(data, np.arange(64)), 1)):
            assert (changed.labels != whole.labels).any(1).float().mean() > 0.5

    def test_without_a_mask_token(self) -> None:
        with pytest.raises(UsageError, match="no mask"):
            Masking.of(tokenizer_json(mask="[NONE]"), VOCABULARY, PAD, seed=0)


def pretrained(
    fresh: Models, masking: Masking, folder: Path, on_progress: OnProgress = ignore, **recipe: float
) -> tuple[TextModel, MaskedWords]:
    model = fresh(1)
    head = MaskedWords(model.config)
    made = Recipe(**{"epochs": 2, "batch_size": 16, "learning_rate": 5e-3, **recipe})  # type: ignore[arg-type]
    data = rows_of(successions(256, 1))
    pretrain(
        model,
        head,
        data,
        masking,
        made,
        checkpoint=folder,
        on_progress=on_progress,
        held_out=rows_of(successions(64, 2)),
    )
    return model, head


def test_learns_what_follows_what(fresh: Models, masking: Masking, tmp_path: Path) -> None:
    held_out = rows_of(successions(200, 9))
    first = fresh(1)
    guess = perplexity(first, MaskedWords(first.config), held_out, masking)
    assert guess == pytest.approx(VOCABULARY, rel=0.3)
    model, head = pretrained(fresh, masking, tmp_path, epochs=25)
    found = perplexity(model, head, held_out, masking)
    assert found < guess / 3
    assert found == perplexity(model, head, held_out, masking)
    assert model.state_dict().keys() == first.state_dict().keys()


@pytest.mark.parametrize("step", [2, 17, 30])
def test_interrupted(
    fresh: Models, masking: Masking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(loop, "SAVE_PERIOD_S", -1.0)

    def listen(event: Progress) -> None:
        if event.done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrained(fresh, masking, tmp_path / "killed", listen, accumulation=2)
    events: list[Progress] = []
    resumed = pretrained(fresh, masking, tmp_path / "killed", events.append, accumulation=2)
    whole = pretrained(fresh, masking, tmp_path / "whole", accumulation=2)
    assert events[0].done == step - 1
    for one, other in zip(resumed, whole, strict=True):
        weights = other.state_dict()
        assert all(torch.equal(x, weights[name]) for name, x in one.state_dict().items())


def test_real_text(shared: Path, fresh: Models, tmp_path: Path) -> None:
    """Speeches in the seed's word pieces: the whole path, and a first fall of the perplexity."""
    from edgetran_host.models.seeds import load_seed
    from edgetran_host.vocabulary import trim_tokenizer

    texts = list(documents([shared / "data" / "text" / "inaugural.txt.gz"]))
    assert len(texts) > 50
    small, _ = trim_tokenizer(load_seed("minilm").tokenizer_json, texts, 2000)
    pad = Tokenizer.from_str(small.decode()).token_to_id("[PAD]")
    assert json.loads(small)["model"]["type"] == "WordPiece"
    data = chunks(small, iter(texts), LENGTH, pad)
    config = dataclasses.replace(fresh(1).config, vocab_size=2000, pad_id=pad)
    torch.manual_seed(0)
    model, masking = TextModel(config), Masking.of(small, 2000, pad, seed=0)
    head, held_out = MaskedWords(config), data[:256]
    before = perplexity(model, head, held_out, masking)
    recipe = Recipe(1, 32, 3e-3)
    pretrain(model, head, data[256:4352], masking, recipe, checkpoint=tmp_path)
    after = perplexity(model, head, held_out, masking)
    assert after < before / 2
