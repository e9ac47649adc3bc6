"""Blobs arrive whole or not at all, whatever happens on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgetran_daemon.store.blobs import BlobStore
from edgetran_protos.bundle import digest_of
from edgetran_protos.errors import (
    BoardBusy,
    BundleCorrupt,
    BundleError,
    BundleMissing,
    DiskFull,
    UsageError,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DATA = bytes(range(256)) * 40
DIGEST = digest_of(DATA)
MEBI = 1 << 20
one_store = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path, reserve_bytes=0)


def put(store: BlobStore, data: bytes, digest: str = "", size: int = -1, offset: int = 0) -> int:
    """All of `data` in one chunk."""
    size = len(data) + offset if size < 0 else size
    with store.arriving(digest or digest_of(data), size, offset) as blob:
        blob.write(data)
        return blob.finish()


def files(store_root: Path) -> list[str]:
    return sorted(str(p.relative_to(store_root)) for p in store_root.rglob("*") if p.is_file())


@one_store
@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_chunks_of_any_size_make_the_blob(store: BlobStore, data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    digest = digest_of(data)
    store.remove(digest)
    with store.arriving(digest, len(data), 0) as blob:
        for start, end in zip(edges, edges[1:]):
            blob.write(data[start:end])
        assert not store.has(digest)
        assert blob.finish() == len(data)
    assert store.read(digest) == store.path(digest).read_bytes() == data
    assert store.verify(digest) == len(data)


@one_store
@given(data=st.binary(min_size=1, max_size=400), stops=st.lists(st.integers(0, 400), max_size=5))
def test_a_transfer_goes_on_where_it_stopped(
    store: BlobStore, data: bytes, stops: list[int]
) -> None:
    digest = digest_of(data)
    store.remove(digest)
    store.drop_partials(time.time() + 10, 0)
    for stop in sorted(min(stop, len(data)) for stop in stops):
        here = store.missing([digest])[digest]
        with store.arriving(digest, len(data), here) as blob:
            blob.write(data[here:stop])
        assert not store.has(digest)
        assert store.received_bytes(digest) == max(here, stop)
    here = store.missing([digest])[digest]
    with store.arriving(digest, len(data), here) as blob:
        blob.write(data[here:])
        blob.finish()
    assert store.read(digest) == data
    assert store.missing([digest]) == {}


def test_a_client_may_begin_again_further_back(store: BlobStore) -> None:
    with store.arriving(DIGEST, len(DATA), 0) as blob:
        blob.write(b"not what it should be")
    with store.arriving(DIGEST, len(DATA), 3) as blob:
        blob.write(b"less")
    assert store.received_bytes(DIGEST) == 7, "what lay behind is gone"
    with store.arriving(DIGEST, len(DATA), 0) as blob:
        blob.write(DATA)
        blob.finish()
    assert store.read(DIGEST) == DATA


def test_a_gap_is_refused(store: BlobStore) -> None:
    with store.arriving(DIGEST, len(DATA), 0) as blob:
        blob.write(DATA[:10])
    with pytest.raises(UsageError, match="byte 11"), store.arriving(DIGEST, len(DATA), 11):
        pytest.fail("a gap of one byte was accepted")


@pytest.mark.parametrize("wrong", [DATA[:-1] + b"!", b"\0" * len(DATA)])
def test_wrong_bytes_leave_nothing(store: BlobStore, tmp_path: Path, wrong: bytes) -> None:
    with pytest.raises(BundleCorrupt) as caught:
        put(store, wrong, DIGEST)
    assert caught.value.hint
    assert files(tmp_path) == []


def test_more_than_announced_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(BundleCorrupt, match="announced"):
        put(store, DATA + b"more", DIGEST, len(DATA))
    assert files(tmp_path) == []


def test_less_than_announced_is_kept_for_later(store: BlobStore) -> None:
    with pytest.raises(UsageError, match="ended at 100"):
        put(store, DATA[:100], DIGEST, len(DATA))
    assert store.missing([DIGEST]) == {DIGEST: 100}


def test_two_clients_do_not_write_one_blob(store: BlobStore) -> None:
    with store.arriving(DIGEST, len(DATA), 0):
        with pytest.raises(BoardBusy), store.arriving(DIGEST, len(DATA), 0):
            pytest.fail("two writers at once")
        assert put(store, b"another blob")
    assert put(store, DATA)


@one_store
@given(st.one_of(st.text(max_size=80), st.just("sha256:../../../etc/passwd")))
def test_a_digest_is_never_a_path(store: BlobStore, tmp_path: Path, name: str) -> None:
    before = files(tmp_path.parent)
    for ask in (store.has, store.path, store.read, store.remove, store.received_bytes):
        with pytest.raises(BundleError):
            ask(name)
    with pytest.raises(BundleError), store.arriving(name, 1, 0):
        pytest.fail("opened")
    assert files(tmp_path.parent) == before


def test_what_is_absent_says_so(store: BlobStore) -> None:
    assert not store.has(DIGEST)
    assert store.remove(DIGEST) == 0
    with pytest.raises(BundleMissing) as caught:
        store.read(DIGEST)
    assert caught.value.hint


def test_a_blob_that_rotted_goes_so_that_it_can_be_sent_again(store: BlobStore) -> None:
    put(store, DATA)
    for check in (store.verify, store.read):
        path = store.path(DIGEST)
        path.write_bytes(DATA[:-1])
        with pytest.raises(BundleCorrupt):
            check(DIGEST)
        assert DIGEST in store.missing([DIGEST])
        put(store, DATA)


def test_limits_are_checked_before_a_byte_arrives(tmp_path: Path) -> None:
    small = BlobStore(tmp_path, max_blob_bytes=10, reserve_bytes=0)
    with pytest.raises(UsageError, match="10"):
        put(small, b"x" * 11)
    careful = BlobStore(tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(DiskFull) as caught:
        put(careful, b"x")
    assert caught.value.hint
    assert files(tmp_path) == []


def test_a_limit_of_all_blobs_together(tmp_path: Path) -> None:
    """What is still arriving counts."""
    store = BlobStore(tmp_path, reserve_bytes=0, limit_bytes=10)
    put(store, b"x" * 6)
    with store.arriving(digest_of(b"y" * 3), 3, 0) as blob:
        blob.write(b"yy")
    assert store.room_bytes() == 2
    with pytest.raises(DiskFull, match="room for 2") as caught:
        put(store, b"z" * 3)
    assert "--store-limit-mb" in caught.value.hint
    put(store, b"z" * 2)
    assert store.size_bytes() == 10


def test_clients_at_a_time_share_the_limit(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, reserve_bytes=0, limit_bytes=10)
    with store.arriving(digest_of(b"x" * 6), 6, 0) as first:
        first.write(b"xx")
        assert store.room_bytes() == 4
        with pytest.raises(DiskFull, match="room for 4"):
            put(store, b"y" * 5)
        first.write(b"xxxx")
        put(store, b"y" * 4)
        first.finish()
    assert store.size_bytes() == 10


def test_a_blob_that_gets_its_name_while_bytes_are_counted(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir
    with store.arriving(DIGEST, len(DATA), 0) as blob:
        blob.write(DATA)

        def slow(folder: Path) -> list[os.DirEntry[str]]:
            found = list(scandir(folder))
            if folder.name == "partial":
                blob.finish()  # another thread's work
            return found

        monkeypatch.setattr(os, "scandir", slow)
        assert store.size_bytes() == 0
    monkeypatch.undo()
    assert store.size_bytes() == len(DATA)
    assert store.received_bytes(DIGEST) == 0


def test_other_files_in_the_folder_are_nobodys_blobs(store: BlobStore) -> None:
    put(store, DATA)
    for name in (".DS_Store", "lost+found", "0" * 63, "G" * 64):
        (store.path(DIGEST).parent / name).write_bytes(b"")
    assert store.digests() == [DIGEST]


def test_what_a_runtime_made_of_a_blob_goes_with_it(store: BlobStore) -> None:
    kept, going = b"kept", b"going"
    for data in (kept, going):
        put(store, data)
    path = store.path(digest_of(going))
    made = path.with_name(f"{path.name}.0123-tensorrt8.2.1.8-sm53.engine")
    other = store.path(digest_of(kept)).with_suffix(".engine")
    made.write_bytes(b"12345")
    other.write_bytes(b"6")
    assert store.remove(digest_of(going)) == len(going) + 5
    assert not made.exists()
    assert other.exists()


def test_old_partials_go_and_young_ones_stay(store: BlobStore, tmp_path: Path) -> None:
    other = digest_of(b"other")
    for digest, age_s in ((DIGEST, 100), (other, 10)):
        with store.arriving(digest, 5, 0) as blob:
            blob.write(b"abc")
        path = tmp_path / "partial" / digest.partition(":")[2]
        os.utime(path, (time.time() - age_s,) * 2)
    with store.arriving(DIGEST, 5, 3):
        os.utime(tmp_path / "partial" / DIGEST.partition(":")[2], (0, 0))
        assert store.drop_partials(time.time(), older_s=50) == 0, "it is arriving"
    assert store.drop_partials(time.time(), older_s=50) == 3
    assert store.received_bytes(other) == 3


def test_asking_for_a_blob_makes_it_recent(store: BlobStore) -> None:
    put(store, DATA)
    os.utime(store.path(DIGEST), (0, 0))
    assert store.age_s(DIGEST, time.time()) > 1e6
    store.missing([DIGEST])
    assert store.age_s(DIGEST, time.time()) < 60


def test_a_full_disk_costs_the_new_blob_only(small_disk: Callable[[int], Any]) -> None:
    disk = small_disk(2 * MEBI)
    store = BlobStore(disk.path, reserve_bytes=0)
    put(store, DATA)
    large = os.urandom(MEBI)
    with store.arriving(digest_of(large), MEBI, 0) as blob:
        blob.write(large[: MEBI // 2])
        disk.fill()
        with pytest.raises(DiskFull) as caught:
            blob.write(large[MEBI // 2 :])
    assert "room" in str(caught.value)
    assert store.read(DIGEST) == DATA
    assert store.digests() == [DIGEST]
    assert store.received_bytes(digest_of(large)) == 0, "room that others need"
    disk.make_room()
    assert put(store, large) == MEBI
