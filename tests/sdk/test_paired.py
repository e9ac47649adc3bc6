"""What a pairing keeps is whole, also where another was kept before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from edgetran import paired

ADDRESS = "192.0.2.7:50051"
OLD, NEW = (paired.Paired(*(f"{age} {part}".encode() for part in "abc")) for age in ("old", "new"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETRAN_HOME", str(tmp_path))


def test_the_last_one_counts() -> None:
    assert paired.find(ADDRESS) is None
    for one in (OLD, NEW):
        paired.keep(ADDRESS, one)
        assert paired.find(ADDRESS) == one
    assert paired.find("192.0.2.7:50052") is None


def test_broken_off_while_the_old_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paired.keep(ADDRESS, OLD)

    def broken_off(folder: Path, **_: object) -> None:
        next(folder.iterdir()).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", broken_off)
    with pytest.raises(KeyboardInterrupt):
        paired.keep(ADDRESS, NEW)
    assert paired.find(ADDRESS) == NEW
