"""Text to ids on disk to batches: nothing is lost, nothing depends on how it was cut."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran.progress import Progress
from edgetran_host.pretraining import corpus as corpus_module
from edgetran_host.pretraining.batches import Batches, ask
from edgetran_host.pretraining.corpus import Corpus, Windows, prepare
from edgetran_host.pretraining.documents import special_frame
from edgetran_host.pretraining.masking import IGNORED, Masking
from edgetran_host.pretraining.request import Request
from edgetran_host.pretraining.shuffling import shuffled
from edgetran_host.pretraining.sources import check_sources, texts
from edgetran_host.pretraining.word_pieces import make_tokenizer, padding_of, size_of
from edgetran_protos.errors import DataError, UsageError
from tokenizers import Tokenizer

LENGTH = 12


@pytest.fixture(scope="module")
def tokenizer_json(text: Path) -> bytes:
    return make_tokenizer(None, 300, [str(text)])


@pytest.fixture(scope="module")
def prepared(text: Path, tokenizer_json: bytes, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare(tmp_path_factory.mktemp("tokens"), tokenizer_json, [str(text)])


@pytest.fixture(scope="module")
def masking(tokenizer_json: bytes) -> Masking:
    return Masking.of(tokenizer_json, size_of(tokenizer_json), padding_of(tokenizer_json), 3)


def joined(rows: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(rows))


class TestSources:
    def test_files_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "a.txt").write_text("one\n\ntwo\ntwo")
        (tmp_path / "deep" / "b.txt.gz").write_bytes(gzip.compress(b"three"))
        (tmp_path / "c.csv").write_text("not this")
        assert list(texts([str(tmp_path)])) == ["one", "two two", "three"]
        assert list(texts([str(tmp_path / "a.txt")])) == ["one", "two two"]

    def test_endless_documents_are_cut(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("word " * 100_000)
        found = list(texts([str(tmp_path)]))
        assert len(found) > 1
        assert " ".join(found).split() == ["word"] * 100_000

    @pytest.mark.parametrize("source", ["absent", "."])
    def test_nothing_to_read(
        self, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(DataError, match=r"absent|holds no text"):
            check_sources([source])

    def test_no_text_in_the_files(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("\n \n")
        with pytest.raises(DataError, match="no text"):
            make_tokenizer(None, 300, [str(tmp_path)])

    @pytest.mark.slow  # the library takes seconds to load
    def test_a_data_set(self, tmp_path: Path) -> None:
        """A local folder goes through the same loader as a name on the hub."""
        (tmp_path / "train.jsonl").write_text('{"id": 1, "text": "one"}\n{"id": 2, "text": "two"}')
        assert list(texts([f"hf:{tmp_path}"])) == ["one", "two"]
        (tmp_path / "train.jsonl").write_text('{"id": 1, "words": 3}')
        with pytest.raises(DataError, match="columns id, words"):
            list(texts([f"hf:{tmp_path}"]))
        with pytest.raises(DataError, match="cannot be loaded"):
            list(texts([f"hf:{tmp_path / 'absent'}"]))


class TestCorpus:
    def test_every_token_once(
        self, prepared: Corpus, tokenizer_json: bytes, documents: list[str]
    ) -> None:
        tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        _, (separator,) = special_frame(tokenizer)
        rows = [tokenizer.encode(t, add_special_tokens=False).ids for t in documents]
        # the first of fifty is held out, the others follow one another
        wanted = [[*row, separator] for row in rows]
        learnt = np.fromfile(prepared.folder / prepared.shards[0].name, prepared.id_type)
        held_out = np.fromfile(prepared.folder / "held-out.bin", prepared.id_type)
        assert learnt.tolist() == joined(r for i, r in enumerate(wanted) if i % 50)
        assert held_out.tolist() == joined(wanted[::50])
        assert (prepared.tokens, prepared.held_out_tokens) == (len(learnt), len(held_out))

    def test_rows(self, prepared: Corpus) -> None:
        windows = Windows(prepared, LENGTH)
        rows = windows.rows(np.arange(len(windows)))
        ids = np.fromfile(prepared.folder / prepared.shards[0].name, prepared.id_type)
        room = LENGTH - 2
        assert rows.shape == (len(ids) // room, LENGTH)
        assert (rows[:, 0] == prepared.before[0]).all()
        assert (rows[:, -1] == prepared.after[0]).all()
        assert rows[:, 1:-1].ravel().tolist() == ids[: len(windows) * room].tolist()
        assert np.array_equal(windows.rows(np.array([7, 2])), rows[[7, 2]])

    def test_interrupted(
        self,
        text: Path,
        tokenizer_json: bytes,
        prepared: Corpus,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Several shards, of which some are there when it goes on, hold the same ids."""
        monkeypatch.setattr(corpus_module, "SHARD_TOKENS", 1500)
        monkeypatch.setattr(corpus_module, "GROUP_CHARACTERS", 500)

        def listen(event: Progress) -> None:
            if len(list(tmp_path.glob("train-*.bin"))) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, tokenizer_json, [str(text)], listen)
        assert Corpus.open(tmp_path) is None
        begun = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("train-*.bin")}
        found = prepare(tmp_path, tokenizer_json, [str(text)])
        assert len(found.shards) > 3
        assert all((tmp_path / name).stat().st_mtime_ns == at for name, at in begun.items())
        ids = [np.fromfile(tmp_path / shard.name, found.id_type) for shard in found.shards]
        whole = np.fromfile(prepared.folder / prepared.shards[0].name, prepared.id_type)
        assert np.array_equal(np.concatenate(ids), whole)
        assert found.held_out_tokens == prepared.held_out_tokens
        windows = Windows(found, LENGTH)
        rows = windows.rows(np.arange(len(windows)))  # none crosses from shard to shard
        assert len(windows) == sum(len(each) // (LENGTH - 2) for each in ids)
        cut = np.concatenate([each[: len(each) // 10 * 10] for each in ids])
        assert rows[:, 1:-1].ravel().tolist() == cut.tolist()

    def test_too_little(self, tokenizer_json: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("ba\n\nda")
        found = prepare(tmp_path / "tokens", tokenizer_json, [str(tmp_path)])
        with pytest.raises(DataError, match="too short"):
            Windows(found, LENGTH)
        with pytest.raises(UsageError, match="holds no text"):
            Windows(found, 2)


class TestBatches:
    @pytest.mark.parametrize("count", [1, 2, 3, 17, 64, 1000])
    def test_an_order_is_a_permutation(self, count: int) -> None:
        orders = [shuffled(np.arange(count), count, 5, turn) for turn in range(3)]
        for order in orders:
            assert sorted(order.tolist()) == list(range(count))
        some = np.arange(count)[::-2]
        assert np.array_equal(shuffled(some, count, 5, 0), orders[0][some])

    def test_an_order_is_mixed(self) -> None:
        """Neighbours end up far from one another, and one order says nothing of the next."""
        count = 10_000
        one, other = (shuffled(np.arange(count), count, 5, turn) for turn in range(2))
        assert abs(np.corrcoef(one, np.arange(count))[0, 1]) < 0.05
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.05
        assert np.abs(np.diff(one)).mean() == pytest.approx(count / 3, rel=0.05)

    def test_each_window_once_a_turn(self, prepared: Corpus, masking: Masking) -> None:
        windows = Windows(prepared, LENGTH)
        seen: list[np.ndarray] = []

        class Spy(Windows):
            def rows(self, windows: np.ndarray) -> np.ndarray:
                seen.append(windows)
                return super().rows(windows)

        batches = Batches(Spy(prepared, LENGTH), masking, size=10, seed=1)
        for step in range(-(-2 * len(windows) // 10)):
            batches.of(step)
        drawn = np.concatenate(seen)
        for turn in (drawn[: len(windows)], drawn[len(windows) : 2 * len(windows)]):
            assert sorted(turn.tolist()) == list(range(len(windows)))

    def test_shares(self, masking: Masking, prepared: Corpus) -> None:
        windows = Windows(prepared, 52)
        ids = windows.rows(np.zeros(2000, np.int64))
        found = ask(ids, windows.asked, masking, 0)
        assert found.labels.shape == (2000, 8)  # 15 % of fifty, rounded
        real = found.labels != IGNORED
        assert found.counted == int(real.sum())
        before = torch.from_numpy(ids)
        asked = before.gather(1, found.places)
        assert torch.equal(found.labels[real], asked[real])
        shown = found.ids.gather(1, found.places)[real]
        shares = [float((shown == each).float().mean()) for each in (masking.mask_id, asked[real])]
        others = int(masking.ordinary.sum())
        assert shares == pytest.approx([0.8, 0.1 + 0.1 / others], abs=0.015)
        untouched = before.scatter(1, found.places, 0) == found.ids.scatter(1, found.places, 0)
        assert untouched.all()
        assert all(len(set(row.tolist())) == 8 for row in found.places)

    def test_never_special(self, masking: Masking, prepared: Corpus) -> None:
        windows = Windows(prepared, LENGTH)
        ids = windows.rows(np.arange(len(windows)))
        found = ask(ids, LENGTH, masking, 1)  # more than there are
        real = found.labels != IGNORED
        assert masking.ordinary[found.labels[real].numpy()].all()
        assert int(real.sum()) == int(masking.ordinary[ids].sum())
        shown = found.ids.numpy()
        assert (masking.ordinary[shown] | (shown == masking.mask_id) | (shown == ids)).all()

    def test_a_batch_follows_from_its_step(
        self, masking: Masking, prepared: Corpus, asking: Callable[..., Request]
    ) -> None:
        batches = Batches(Windows(prepared, LENGTH), masking, size=10, seed=1)
        stream = batches.stream(4, slice(5, 10), torch.device("cpu"))
        for step in (4, 5, 6):
            found, wanted = next(stream), batches.of(step)
            for one, other in zip(found.tensors, wanted.tensors, strict=True):
                assert torch.equal(one, other[5:])
            assert found.counted == wanted.counted
        stream.close()
