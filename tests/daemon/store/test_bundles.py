"""Bundles in the store: what is missing, which variant serves, which blobs may go."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from types import ModuleType

import onnx
import pytest
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.bundles import LOOSE_S, BundleStore
from edgetran_protos.bundle import MEDIA_CARD, Bundle, canonical_json, digest_of
from edgetran_protos.errors import (
    BoardBusy,
    BundleCorrupt,
    BundleError,
    BundleMissing,
    UnknownVariant,
    UsageError,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

POOL = [f"blob {n}".encode() for n in range(5)]
Subset = st.sets(st.sampled_from(range(len(POOL))), min_size=1)


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(BlobStore(tmp_path / "state", reserve_bytes=0))


@pytest.fixture
def bundle(tmp_path: Path, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path / "bundle")
    return made


def put(store: BundleStore, data: bytes) -> str:
    digest = digest_of(data)
    if not store.blobs.has(digest):
        with store.blobs.arriving(digest, len(data), 0) as blob:
            blob.write(data)
            blob.finish()
    return digest


def send(store: BundleStore, bundle: Bundle) -> str:
    for blob in bundle.transfer_blobs():
        put(store, bundle.read(blob.digest))
    return bundle.digest


def manifest(datas: list[bytes]) -> bytes:
    entries = [
        {"digest": digest_of(data), "size": len(data), "mediaType": "text/plain"} for data in datas
    ]
    return canonical_json({"config": entries[0], "layers": entries[1:]})


def test_a_bundle_opens_as_it_was_packed(store: BundleStore, bundle: Bundle) -> None:
    found = store.open(send(store, bundle))
    assert found.card == bundle.card
    assert set(found.blobs) == {blob.digest for blob in bundle.transfer_blobs()}
    assert store.verify(found) == bundle.size_bytes
    assert store.graph(found.variant("")).read_bytes() == bundle.read(
        bundle.card.variants[0].digest
    )


def test_every_missing_blob_is_named(store: BundleStore, bundle: Bundle) -> None:
    with pytest.raises(BundleMissing):
        store.open(bundle.digest)
    send(store, bundle)
    for blob in bundle.blobs:
        store.blobs.remove(blob.digest)
        with pytest.raises(BundleMissing, match=blob.file or blob.digest):
            store.open(bundle.digest)
        put(store, bundle.read(blob.digest))


def test_a_rotted_blob_is_found_by_verify(store: BundleStore, bundle: Bundle) -> None:
    found = store.open(send(store, bundle))
    store.graph(found.variant("")).write_bytes(b"rotten")
    with pytest.raises(BundleCorrupt):
        store.verify(found)


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt", "myriad"])
def test_a_graph_in_onnx_keeps_its_weights_inside(
    store: BundleStore, bundle: Bundle, runtime: str
) -> None:
    own = store.open(send(store, bundle)).variant("")
    graph = onnx.load_from_string(bundle.read(own.digest))
    weights = graph.graph.initializer[0]
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    weights.data_location = onnx.TensorProto.EXTERNAL
    data = graph.SerializeToString()
    put(store, data)
    outside = dataclasses.replace(own, runtime=runtime, digest=digest_of(data))
    with pytest.raises(BundleError, match="other files"):
        store.graph(outside)


def test_the_first_variant_with_a_runtime_serves(store: BundleStore, bundle: Bundle) -> None:
    found = store.open(send(store, bundle))
    own = found.card.variants[0]
    foreign = dataclasses.replace(own, name="abacus-fp32", runtime="abacus")
    both = dataclasses.replace(found.card, variants=[foreign, own])
    assert dataclasses.replace(found, card=both).variant("") == own
    assert dataclasses.replace(found, card=both).variant("abacus-fp32") == foreign
    with pytest.raises(UnknownVariant) as caught:
        dataclasses.replace(found, card=dataclasses.replace(both, variants=[foreign])).variant("")
    assert "abacus" in caught.value.hint
    with pytest.raises(UnknownVariant):
        found.variant("tpu-int1")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"config": 1}'])
def test_a_manifest_that_is_none(store: BundleStore, data: bytes) -> None:
    with pytest.raises(BundleError):
        store.open(put(store, data))


@pytest.mark.parametrize("card", [b"", b"[]", b"{}", b'{"schema": 99}', b'{"schema": "x"}'])
def test_a_card_that_is_none(store: BundleStore, card: bytes) -> None:
    entry = {"digest": put(store, card), "size": len(card), "mediaType": MEDIA_CARD}
    data = canonical_json({"config": entry, "layers": []})
    with pytest.raises(BundleError):
        store.open(put(store, data))


def test_a_card_may_not_name_what_the_manifest_does_not(store: BundleStore, bundle: Bundle) -> None:
    send(store, bundle)
    raw = json.loads(bundle.card.to_json())
    raw["tokenizer_digest"] = put(store, b"somebody else's blob")
    card = canonical_json(raw)
    entry = {"digest": put(store, card), "size": len(card), "mediaType": MEDIA_CARD}
    config = {"digest": put(store, b"{}"), "size": 2, "mediaType": "x"}
    with pytest.raises(BundleError, match="manifest does not"):
        store.open(put(store, canonical_json({"config": config, "layers": [entry]})))


def test_discard_frees_a_bundle_that_nobody_needs(
    store: BundleStore, bundle: Bundle, tmp_path: Path, tiny: ModuleType
) -> None:
    other = tiny.make(tmp_path / "other", seed=1)  # shares the tokenizer
    send(store, bundle)
    send(store, other)
    with pytest.raises(UsageError, match="is deployed"):
        store.discard(bundle.digest, [bundle.digest])
    with store.pinned(bundle.digest), store.pinned(bundle.digest), pytest.raises(BoardBusy):
        store.discard(bundle.digest, [])
    freed = store.discard(bundle.digest, [other.digest])
    shared = {b.digest for b in bundle.transfer_blobs()} & {b.digest for b in other.blobs}
    own = [b for b in bundle.transfer_blobs() if b.digest not in shared]
    assert shared
    assert freed == sum(blob.size_bytes for blob in own)
    assert store.verify(store.open(other.digest)) == other.size_bytes
    with pytest.raises(BundleMissing):
        store.discard(bundle.digest, [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    bundles=st.lists(Subset, min_size=1, max_size=4, unique_by=frozenset),
    going=st.sets(st.integers(0, 3)),
    deployed=st.sets(st.integers(0, 3)),
    pinned=st.sets(st.integers(0, 3)),
)
def test_freeing_keeps_what_any_other_bundle_names(
    store: BundleStore,
    bundles: list[set[int]],
    going: set[int],
    deployed: set[int],
    pinned: set[int],
) -> None:
    for digest in store.blobs.digests():
        store.blobs.remove(digest)
    named = {}
    for numbers in bundles:
        data = [POOL[n] for n in sorted(numbers)]
        for one in data:
            put(store, one)
        digest = put(store, manifest(data))
        named[digest] = {digest, *(digest_of(one) for one in data)}
    digests = list(named)

    def chosen(numbers: set[int]) -> set[str]:
        return {digest for number, digest in enumerate(digests) if number in numbers}

    before = set(store.blobs.digests())
    pins = [store.pinned(digest) for digest in sorted(chosen(pinned))]
    for pin in pins:
        pin.__enter__()
    store.free(chosen(going), chosen(deployed))
    for pin in pins:
        pin.__exit__(None, None, None)
    gone = chosen(going) - chosen(deployed) - chosen(pinned)
    kept = set().union(*(named[digest] for digest in set(digests) - gone), set())
    lost = set().union(*(named[digest] for digest in gone), set()) - kept
    assert set(store.blobs.digests()) == before - lost


def test_collecting_takes_only_what_is_old_and_unneeded(
    store: BundleStore, bundle: Bundle, tmp_path: Path, tiny: ModuleType
) -> None:
    measured, deployed = tiny.make(tmp_path / "measured", seed=1), bundle
    loose = put(store, b"an upload that nobody finished")
    for one in (deployed, measured):
        send(store, one)
    now = 2e9
    for digest in store.blobs.digests():
        os.utime(store.blobs.path(digest), (now - LOOSE_S - 1,) * 2)
    os.utime(store.blobs.path(loose), (now - LOOSE_S + 1,) * 2)
    with store.pinned(measured.digest):
        assert store.collect([deployed.digest], now) == 0
    assert store.collect([deployed.digest], now) > 0
    assert store.blobs.has(loose)
    assert not store.blobs.has(measured.digest)
    assert store.verify(store.open(deployed.digest)) == deployed.size_bytes
    assert store.collect([], now + 10) > 0
    assert store.blobs.digests() == []
