"""The address book keeps what was written and refuses what cannot be a board."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgetran import UnknownTarget, UsageError
from edgetran.addresses import AddressBook, is_address


@pytest.fixture
def book(tmp_path: Path) -> AddressBook:
    return AddressBook(tmp_path / "home" / "boards.json")


def test_a_missing_file_is_an_empty_book(book: AddressBook) -> None:
    assert book.entries() == {}


def test_add_change_remove(book: AddressBook) -> None:
    book.add("desk", "10.0.0.4:8470")
    book.add("attic", "attic.local:8470")
    book.add("desk", "[fe80::1]:8470")
    assert book.entries() == {"attic": "attic.local:8470", "desk": "[fe80::1]:8470"}
    book.remove("attic")
    assert AddressBook(book.path).entries() == {"desk": "[fe80::1]:8470"}


def test_a_power_cut_leaves_the_old_book_or_the_new_one(
    book: AddressBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.add("desk", "10.0.0.4:8470")
    done: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("on disk"), sync(file)))
    monkeypatch.setattr(os, "replace", lambda *two: (done.append("renamed"), replace(*two)))
    book.add("attic", "attic.local:8470")
    assert done == ["on disk", "renamed", "on disk"]


def test_a_full_disk_leaves_the_old_book_and_no_other_file(
    small_disk: Callable[[int], Any],
) -> None:
    disk = small_disk(64 << 10)
    book = AddressBook(disk.path / "boards.json")
    book.add("desk", "10.0.0.4:8470")
    disk.fill()
    with pytest.raises(OSError, match="space"):
        book.add("attic", "attic.local:8470")
    assert list(book.entries()) == ["desk"]
    assert not list(disk.path.glob(".*.partial"))


def test_removing_a_stranger_names_the_known(book: AddressBook) -> None:
    book.add("desk", "10.0.0.4:8470")
    with pytest.raises(UnknownTarget) as caught:
        book.remove("attic")
    assert "desk" in caught.value.hint


@pytest.mark.parametrize("name", ["", "a b", "nano:gpu", "../up", "-x", "ä"])
def test_bad_names(book: AddressBook, name: str) -> None:
    with pytest.raises(UsageError):
        book.add(name, "10.0.0.4:8470")
    assert not book.path.exists()


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:0", "host:70000", "a b:1"])
def test_bad_addresses(book: AddressBook, address: str) -> None:
    with pytest.raises(UsageError):
        book.add("desk", address)


@pytest.mark.parametrize(
    "text", ["not json", "[]", '{"boards": []}', '{"boards": {"a": 1}}', "{}", "\0"]
)
def test_a_broken_file_is_named_not_lost(book: AddressBook, text: str) -> None:
    book.path.parent.mkdir(parents=True)
    book.path.write_text(text)
    with pytest.raises(UsageError, match=r"boards\.json"):
        book.add("desk", "10.0.0.4:8470")
    assert book.path.read_text() == text


def test_two_writers_lose_nothing(book: AddressBook) -> None:
    def write(number: int) -> None:
        for step in range(10):
            book.add(f"b{number}-{step}", "10.0.0.4:8470")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(book.entries()) == 40
    assert json.loads(book.path.read_text())["schema"] == 1
    assert not list(book.path.parent.glob("*.partial"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:50051", True),
        ("[::1]:80", True),
        ("unix:/run/e", True),
        ("unix:", False),
        ("nano", False),
        ("nano:gpu", False),
        ("http://nano:80", False),
        ("::1:80", False),
    ],
)
def test_is_address(text: str, expected: bool) -> None:
    assert is_address(text) is expected
