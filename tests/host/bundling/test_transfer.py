"""Bundles to and from a real registry: whole, the same, no more than needed, on a bad line too."""

from __future__ import annotations

import base64
import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import requests
from edgetran_host.bundling.client import Client, RegistryError
from edgetran_host.bundling.reference import Reference
from edgetran_host.bundling.repository import Repository
from edgetran_host.bundling.signatures import signatures_of
from edgetran_host.bundling.transfer import copy, pull, push
from edgetran_host.inspecting import check
from edgetran_host.signing import make_key, sign, standings
from edgetran_protos.bundle import MEDIA_WEIGHTS, Bundle, write_bundle
from edgetran_protos.errors import BundleCorrupt, BundleError, BundleMissing, UsageError
from edgetran_protos.layout import write_layout
from edgetran_protos.signing import Signers

from tests.registry_server import PASSWORD, USER, ListingFront, RegistryServer, bad_line

LARGE_BYTES = 3 << 20
SIGNATURES = {"ours.sig": b"one", "theirs.sig": b"two"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    """With a blob that takes many packets."""
    folder = tmp_path_factory.mktemp("bundle")
    small = tiny.make(folder / "small.tar")
    files = {
        blob.file: (blob.media_type, small.read(blob.digest))
        for blob in small.blobs
        if blob.file and blob.file != "edgetran.json"
    }
    files["large.bin"] = (MEDIA_WEIGHTS, random.Random(5).randbytes(LARGE_BYTES))
    return write_bundle(folder / "large.tar", small.card, files)


@pytest.fixture
def place(registry: RegistryServer, request: pytest.FixtureRequest) -> Reference:
    """A repository of the test's own."""
    name = "".join(c for c in request.node.name.lower() if c.isalnum())
    return Reference(registry.host, f"tests/{name}", "7", "")


@pytest.fixture
def signed(bundle: Bundle, tmp_path: Path) -> Path:
    """As far as a registry is concerned."""
    tree = {f"blobs/sha256/{b.digest[7:]}": bundle.read(b.digest) for b in bundle.transfer_blobs()}
    entry = {"mediaType": "", "digest": bundle.digest, "size": len(bundle.manifest)}
    tree["index.json"] = json.dumps({"manifests": [entry]}).encode()
    tree["oci-layout"] = b"{}"
    tree.update({f"signatures/{name}": data for name, data in SIGNATURES.items()})
    tree["signatures/notes.txt"] = b"not one"
    write_layout(tmp_path / "signed", tree)
    return tmp_path / "signed"


def test_there_and_back_it_is_the_same_file(
    bundle: Bundle, place: Reference, tmp_path: Path
) -> None:
    pushed = push(bundle.path, place, insecure=True)
    assert pushed.digest == bundle.digest
    assert pushed.sent_bytes == sum({b.digest: b.size_bytes for b in bundle.blobs}.values())
    pull(place, tmp_path / "back.tar", insecure=True)
    assert (tmp_path / "back.tar").read_bytes() == bundle.path.read_bytes()
    assert pull(Reference.parse(pushed.where), tmp_path / "folder", insecure=True).card == (
        bundle.card
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.tar", "folder"]


def test_what_is_there_is_not_sent_again(bundle: Bundle, place: Reference, tmp_path: Path) -> None:
    push(bundle.path, place, insecure=True)
    again = push(bundle.path, Reference(place.host, place.name, "8", ""), insecure=True)
    assert again.sent_bytes == 0
    files = {
        blob.file: (blob.media_type, bundle.read(blob.digest))
        for blob in bundle.blobs
        if blob.file and blob.file != "edgetran.json"
    }
    other = write_bundle(
        tmp_path / "other.tar", dataclasses.replace(bundle.card, sequence=8), files
    )
    assert 0 < push(other.path, place, insecure=True).sent_bytes < LARGE_BYTES
    assert pull(place, tmp_path / "back.tar", insecure=True).digest == other.digest


def test_signatures_go_along_and_change_no_digest(
    bundle: Bundle, signed: Path, place: Reference, tmp_path: Path
) -> None:
    pushed = push(signed, place, insecure=True)
    assert (pushed.digest, pushed.signatures) == (bundle.digest, 2)
    push(signed, place, insecure=True)  # and are not there twice
    assert pull(place, tmp_path / "back.tar", insecure=True).digest == bundle.digest
    assert signatures_of(tmp_path / "back.tar") == SIGNATURES
    copy(str(tmp_path / "back.tar"), str(tmp_path / "copied"))
    assert signatures_of(check(tmp_path / "copied").path) == SIGNATURES


def test_who_signed_is_known_after_the_way(
    tiny: ModuleType, place: Reference, tmp_path: Path
) -> None:
    """Real signatures, of two; also where another program wrote the layout's index."""
    bundle = tiny.make(tmp_path / "small.tar")
    for name in ("alice", "bob"):
        make_key(tmp_path / f"{name}.pem")
        sign(bundle.path, tmp_path / f"{name}.pem")
    push(bundle.path, place, insecure=True)
    pulled = pull(place, tmp_path / "back", insecure=True)
    index = json.loads((pulled.path / "index.json").read_text())
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "7"}
    (pulled.path / "index.json").write_text(json.dumps(index))
    trusted = Signers.of(tmp_path / "alice.pub", tmp_path / "bob.pub")
    found = standings(Bundle.open(pulled.path), trusted)
    assert sorted(one.signer for one in found) == ["alice", "bob"]


def test_a_registry_that_lists_referrers_itself_is_asked(
    bundle: Bundle, signed: Path, place: Reference, tmp_path: Path
) -> None:
    front = ListingFront(place.host)
    through = Reference(front.host, place.name, "7", "")
    push(signed, through, insecure=True)
    pull(through, tmp_path / "back.tar", insecure=True)
    assert len(front.asked) == 1 + len(SIGNATURES)  # pages
    front.close()
    assert signatures_of(tmp_path / "back.tar") == SIGNATURES
    repository = Repository(Client(place, insecure=True))
    with pytest.raises(BundleMissing):  # and has no list of ours under a tag
        repository.manifest(f"sha256-{bundle.digest[7:]}")


def test_a_copy_from_registry_to_registry(
    bundle: Bundle, signed: Path, place: Reference, tmp_path: Path
) -> None:
    push(signed, place, insecure=True)
    other = Reference(place.host, f"{place.name}/other", "latest", "")
    assert copy(str(place), str(other), insecure=True) == bundle.digest
    pull(other, tmp_path / "back", insecure=True)
    assert signatures_of(tmp_path / "back") == SIGNATURES


class TestBadLine:
    def test_a_broken_download_goes_on_where_it_broke(
        self, bundle: Bundle, place: Reference, tmp_path: Path
    ) -> None:
        push(bundle.path, place, insecure=True)
        with bad_line(place.host, LARGE_BYTES // 3, breaks=4) as line:
            through = Reference(line.host, place.name, "7", "")
            assert pull(through, tmp_path / "back.tar", insecure=True).digest == bundle.digest
            assert line.passed_bytes < 1.5 * bundle.size_bytes

    def test_what_came_before_it_was_given_up_is_not_fetched_again(
        self, bundle: Bundle, place: Reference, tmp_path: Path
    ) -> None:
        push(bundle.path, place, insecure=True)
        out = tmp_path / "back.tar"
        out.write_text("what was there")
        blob = max(bundle.blobs, key=lambda one: one.size_bytes)
        with bad_line(place.host, LARGE_BYTES // 2, breaks=1) as line:
            through = Repository(Client(Reference(line.host, place.name, "7", ""), insecure=True))
            staging = tmp_path / ".back.tar.pull"
            staging.mkdir()
            with pytest.raises(requests.RequestException):
                through._append(blob, staging / blob.digest[7:], lambda here: None)
        came = (staging / blob.digest[7:]).stat().st_size
        assert 0 < came < LARGE_BYTES
        assert out.read_text() == "what was there"
        with bad_line(place.host, 1 << 40, breaks=0) as line:
            pull(Reference(line.host, place.name, "7", ""), out, insecure=True)
            assert line.passed_bytes < bundle.size_bytes - came + (64 << 10)
        assert check(out).digest == bundle.digest
        assert not staging.exists()

    def test_a_registry_that_is_not_there(self, bundle: Bundle) -> None:
        nobody = Reference("127.0.0.1:9", "tiny", "7", "")
        with pytest.raises(RegistryError, match=r"127\.0\.0\.1:9 cannot be reached") as caught:
            push(bundle.path, nobody, insecure=True)
        assert "--insecure" in caught.value.hint


class TestDamage:
    def test_a_blob_that_rotted_there(
        self, bundle: Bundle, registry: RegistryServer, place: Reference, tmp_path: Path
    ) -> None:
        push(bundle.path, place, insecure=True)
        file = registry.blob(bundle.card.tokenizer_digest)
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + b"?")
        try:
            with pytest.raises(BundleCorrupt, match=bundle.card.tokenizer_digest):
                pull(place, tmp_path / "back.tar", insecure=True)
        finally:
            file.write_bytes(whole)
        assert not list(tmp_path.iterdir())
        assert pull(place, tmp_path / "back.tar", insecure=True).digest == bundle.digest

    def test_a_bundle_that_is_not_whole_is_not_sent(
        self, bundle: Bundle, place: Reference, tmp_path: Path
    ) -> None:
        copy(str(bundle.path), str(tmp_path / "folder"))
        (tmp_path / f"folder/blobs/sha256/{bundle.card.tokenizer_digest[7:]}").unlink()
        with pytest.raises(BundleCorrupt):
            push(tmp_path / "folder", place, insecure=True)
        with pytest.raises(BundleMissing):
            pull(place, tmp_path / "back", insecure=True)

    def test_what_is_no_bundle_is_not_fetched(
        self, bundle: Bundle, place: Reference, tmp_path: Path
    ) -> None:
        repository = Repository(Client(place, insecure=True))
        push(bundle.path, place, insecure=True)
        manifest = json.loads(bundle.manifest)
        manifest["layers"] = [one for one in manifest["layers"] if "weight" in one["mediaType"]]
        repository.put_manifest("other", json.dumps(manifest).encode())
        with pytest.raises(BundleError, match="no edgetran card"):
            pull(Reference(place.host, place.name, "other", ""), tmp_path / "back", insecure=True)
        assert not list(tmp_path.iterdir())

    def test_a_tag_that_means_something_else_than_the_digest(
        self, bundle: Bundle, place: Reference, tmp_path: Path
    ) -> None:
        push(bundle.path, place, insecure=True)
        wrong = Reference(place.host, place.name, "7", f"sha256:{'0' * 64}")
        with pytest.raises(BundleMissing):
            pull(wrong, tmp_path / "back", insecure=True)
        with pytest.raises(UsageError, match="not sha256:000"):
            push(bundle.path, wrong, insecure=True)

    def test_a_folder_of_something_else_is_not_replaced(
        self, bundle: Bundle, place: Reference, tmp_path: Path
    ) -> None:
        push(bundle.path, place, insecure=True)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/letter.txt").write_text("dear")
        with pytest.raises(UsageError, match="no bundle"):
            pull(place, tmp_path / "mine", insecure=True)
        assert (tmp_path / "mine/letter.txt").read_text() == "dear"


@pytest.fixture(scope="module")
def guarded() -> Iterator[RegistryServer]:
    pytest.importorskip("oras")
    server = RegistryServer(password=True)
    yield server
    server.stop()


class TestPassword:
    def test_tokens_for_reading_are_exchanged_for_those_for_writing(
        self, bundle: Bundle, docker_config: Path, tmp_path: Path
    ) -> None:
        server = RegistryServer(tokens=True)
        try:
            place = Reference(server.host, "tiny", "7", "")
            with pytest.raises(RegistryError, match="does not allow"):
                push(bundle.path, place, insecure=True)
            self.log_in(docker_config, server.host, PASSWORD)
            push(bundle.path, place, insecure=True)
            assert server.tokens is not None
            scopes = {
                frozenset(scope.rpartition(":")[2].split(",")) for scope in server.tokens.asked
            }
            assert scopes == {frozenset({"pull"}), frozenset({"pull", "push"})}
            docker_config.unlink()  # anybody may read
            assert pull(place, tmp_path / "back.tar", insecure=True).digest == bundle.digest
        finally:
            server.stop()

    @pytest.fixture
    def docker_config(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "docker").mkdir()
        return tmp_path / "docker" / "config.json"

    @staticmethod
    def log_in(config: Path, host: str, password: str) -> None:
        word = base64.b64encode(f"{USER}:{password}".encode()).decode()
        config.write_text(json.dumps({"auths": {host: {"auth": word}}}))

    def test_credentials_of_docker_open_it(
        self, guarded: RegistryServer, bundle: Bundle, docker_config: Path, tmp_path: Path
    ) -> None:
        self.log_in(docker_config, guarded.host, PASSWORD)
        place = Reference(guarded.host, "tiny", "7", "")
        push(bundle.path, place, insecure=True)
        assert pull(place, tmp_path / "back.tar", insecure=True).digest == bundle.digest

    @pytest.mark.parametrize("password", [None, "wrong"])
    def test_without_them_it_says_where_they_are_looked_for(
        self,
        guarded: RegistryServer,
        bundle: Bundle,
        docker_config: Path,
        password: str | None,
    ) -> None:
        if password is not None:
            self.log_in(docker_config, guarded.host, password)
        with pytest.raises(RegistryError, match=guarded.host) as caught:
            push(bundle.path, Reference(guarded.host, "tiny", "7", ""), insecure=True)
        assert "docker login" in caught.value.hint


def test_https_is_the_rule(bundle: Bundle, place: Reference) -> None:
    with pytest.raises(RegistryError) as caught:
        push(bundle.path, place)
    assert "--insecure" in caught.value.hint


def test_whatever_a_killed_pull_left_is_finished(
    bundle: Bundle, place: Reference, tmp_path: Path
) -> None:
    push(bundle.path, place, insecure=True)
    staging = tmp_path / ".back.tar.pull"
    for blob in bundle.blobs:
        data = bundle.read(blob.digest)
        for left in (b"", data[: len(data) // 2], data[:-1]):
            staging.mkdir()
            (staging / blob.digest[7:]).write_bytes(left)
            (staging / ".lock").touch()
            assert pull(place, tmp_path / "back.tar", insecure=True).digest == bundle.digest
            assert not staging.exists()
