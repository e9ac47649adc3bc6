"""Files of documents, whole and broken; a tokenizer without a mask."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from edgetran_host.pretraining.documents import documents
from edgetran_host.pretraining.masking import Masking
from edgetran_protos.errors import DataError, UsageError
from tokenizers import Tokenizer, models


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


def test_a_tokenizer_without_a_mask() -> None:
    bare = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).to_str().encode()
    with pytest.raises(UsageError, match="no mask"):
        Masking.of(bare, 2, 0, seed=0)
