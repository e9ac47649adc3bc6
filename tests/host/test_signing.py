"""Keys, signatures in folders and archives, and what `edgetran bundle verify` says of them."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from edgetran_host.cli.bundle import bundle
from edgetran_host.signing import make_key, sign, standings
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import BundleError, BundleUntrusted, UsageError
from edgetran_protos.signing import MOST_SIGNATURES, Signers, files_of, signatures_of

pytest.importorskip("model_signing", reason="pip install 'edgetran-host[sign]'")


@dataclasses.dataclass(frozen=True)
class Keys:
    first: Path
    second: Path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    home = tmp_path_factory.mktemp("keys")
    for name in ("first", "second"):
        make_key(home / f"{name}.pem")
    return Keys(home / "first.pem", home / "second.pem")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Path:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("plain") / "tiny.tar")
    return made.path


@pytest.fixture
def archive(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(plain, tmp_path / "tiny.tar"))


def asked(*arguments: object) -> Result:
    return CliRunner().invoke(bundle, [str(one) for one in arguments])


def signers_of(path: Path, *keys: Path) -> list[str]:
    trusted = Signers.of(*(key.with_suffix(".pub") for key in keys))
    return [one.signer for one in standings(Bundle.open(path), trusted)]


def unpacked(path: Path, folder: Path) -> Path:
    with tarfile.open(path) as tar:
        tar.extractall(folder, filter="data")
    return folder


def packed(folder: Path, path: Path) -> Path:
    """As any archiver would, with members for folders."""
    with tarfile.open(path, "w") as tar:
        for place in sorted(folder.rglob("*")):
            tar.add(place, place.relative_to(folder), recursive=False)
    return path


@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_a_key_is_its_owners_alone_and_signs(curve: str, archive: Path, tmp_path: Path) -> None:
    key = tmp_path / "new" / "release.pem"
    public, found = make_key(key, curve)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    assert sign(archive, key) == found
    assert signers_of(archive, key) == ["release"]


def test_a_key_is_never_written_over(keys: Keys) -> None:
    before = keys.first.read_bytes()
    with pytest.raises(UsageError, match="there already"):
        make_key(keys.first)
    assert keys.first.read_bytes() == before


def test_a_signature_survives_folders_and_archives(
    keys: Keys, archive: Path, tmp_path: Path
) -> None:
    digest = Bundle.open(archive).digest
    sign(archive, keys.first)
    folder = unpacked(archive, tmp_path / "folder")
    again = packed(folder, tmp_path / "again.tar")
    for path in (archive, folder, again):
        assert Bundle.open(path).digest == digest
        assert signers_of(path, keys.first) == ["first"]
    assert files_of(archive) == files_of(folder) == files_of(again)


def test_signing_a_folder_is_signing_its_archive(keys: Keys, archive: Path, tmp_path: Path) -> None:
    folder = unpacked(archive, tmp_path / "folder")
    sign(folder, keys.first)
    assert signers_of(packed(folder, tmp_path / "again.tar"), keys.first) == ["first"]


def test_several_may_sign_and_a_key_signs_once(keys: Keys, archive: Path) -> None:
    for key in (keys.first, keys.second, keys.first):
        sign(archive, key)
    assert len(signatures_of(archive)) == 2
    assert sorted(signers_of(archive, keys.first, keys.second)) == ["first", "second"]
    assert sorted(signers_of(archive, keys.second)) == ["", "second"]


def test_no_more_sign_than_boards_look_at(archive: Path, tmp_path: Path) -> None:
    for number in range(MOST_SIGNATURES + 1):
        make_key(tmp_path / f"{number}.pem")
    for number in range(MOST_SIGNATURES):
        sign(archive, tmp_path / f"{number}.pem")
    before = archive.read_bytes()
    with pytest.raises(UsageError, match="8 signatures"):
        sign(archive, tmp_path / f"{MOST_SIGNATURES}.pem")
    assert archive.read_bytes() == before
    sign(archive, tmp_path / "0.pem")  # in the place of its own
    assert len(signatures_of(archive)) == MOST_SIGNATURES


def test_the_order_of_signing_shows_nowhere(keys: Keys, archive: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(archive, tmp_path / "other.tar"))
    sign(archive, keys.first), sign(archive, keys.second)
    sign(other, keys.second), sign(other, keys.first)
    names = []
    for path in (archive, other):
        with tarfile.open(path) as tar:
            names.append(tar.getnames())
    assert names[0] == names[1] == sorted(names[0])


def test_the_release_number_is_under_the_signature(
    keys: Keys, tiny: ModuleType, tmp_path: Path
) -> None:
    """A board's floor against older releases is worth something only so."""
    old = tiny.make(tmp_path / "old", sequence=1)
    new = tiny.make(tmp_path / "new", sequence=2)
    sign(old.path, keys.first)
    shutil.copytree(old.path / "signatures", new.path / "signatures")
    (standing,) = standings(Bundle.open(new.path), Signers.of(keys.first.with_suffix(".pub")))
    assert "not of these files" in standing.refused


def test_what_the_manifest_does_not_name_is_not_signed(
    keys: Keys, archive: Path, tmp_path: Path
) -> None:
    folder = unpacked(archive, tmp_path / "folder")
    (folder / "blobs" / "sha256" / "more").write_text("x")
    with pytest.raises(BundleError, match="does not name"):
        sign(folder, keys.first)
    assert not (folder / "signatures").exists()


def test_a_broken_bundle_is_not_signed(keys: Keys, archive: Path) -> None:
    graph = Bundle.open(archive).card.variants[0].digest.removeprefix("sha256:")
    data = bytearray(archive.read_bytes())
    with tarfile.open(archive) as tar:
        data[tar.getmember(f"blobs/sha256/{graph}").offset_data] ^= 1
    archive.write_bytes(data)
    with pytest.raises(BundleError):
        sign(archive, keys.first)


def second_member(path: Path) -> None:
    """Which of the two would an archiver unpack?"""
    name = f"blobs/sha256/{Bundle.open(path).digest.removeprefix('sha256:')}"
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))


def member_of(kind: bytes) -> Callable[[Path], None]:
    def add(path: Path) -> None:
        with tarfile.open(path, "a") as tar:
            info = tarfile.TarInfo("blobs/sha256/link")
            info.type, info.linkname = kind, "index.json"
            tar.addfile(info)

    return add


@pytest.mark.parametrize(
    "spoil",
    [second_member, *map(member_of, (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE))],
    ids=["a member twice", "a link", "a hard link", "a pipe"],
)
def test_odd_archives_are_refused(spoil: Callable[[Path], None], keys: Keys, archive: Path) -> None:
    sign(archive, keys.first)
    spoil(archive)
    found = asked("verify", archive, "--trust", keys.first.with_suffix(".pub"))
    assert found.exit_code != 0


@pytest.mark.parametrize("kind", ["a public key", "Ed25519", "encrypted", "no key"])
def test_what_cannot_sign_is_said(kind: str, keys: Keys, archive: Path, tmp_path: Path) -> None:
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = serialization.load_pem_private_key(keys.first.read_bytes(), None)
    made = {
        "a public key": keys.first.with_suffix(".pub").read_bytes(),
        "Ed25519": ed25519.Ed25519PrivateKey.generate().private_bytes(
            pem, form, serialization.NoEncryption()
        ),
        "encrypted": private.private_bytes(
            pem, form, serialization.BestAvailableEncryption(b"secret")
        ),
        "no key": b"hello",
    }
    key = tmp_path / "key.pem"
    key.write_bytes(made[kind])
    with pytest.raises(UsageError, match="cannot sign") as found:
        sign(archive, key)
    assert "keygen" in found.value.hint


def test_a_certificate_must_be_the_keys(keys: Keys, archive: Path) -> None:
    with pytest.raises(UsageError, match="needs a certificate"):
        sign(archive, keys.first, chain=[keys.first])
    with pytest.raises(UsageError, match="cannot sign"):
        sign(archive, keys.first, certificate=keys.first)


def test_what_verify_says(keys: Keys, archive: Path) -> None:
    assert "signature: none" in asked("verify", archive).output
    public = keys.first.with_suffix(".pub")
    unsigned = asked("verify", archive, "--trust", public)
    assert isinstance(unsigned.exception, BundleUntrusted)
    assert "not signed" in str(unsigned.exception)
    assert asked("sign", archive, "--key", keys.first).exit_code == 0
    assert "not checked without --trust" in asked("verify", archive).output
    good = asked("verify", archive, "--trust", public)
    assert good.exit_code == 0
    assert "signature: by first" in good.output
    bad = asked("verify", archive, "--trust", keys.second.with_suffix(".pub"))
    assert isinstance(bad.exception, BundleUntrusted)
    assert "REFUSED" in bad.output
    told = json.loads(asked("verify", archive, "--trust", public, "--json").output)
    assert [one["signer"] for one in told["signatures"]] == ["first"]


def test_a_folder_of_trusted_keys_and_a_revoked_one(
    keys: Keys, archive: Path, tmp_path: Path
) -> None:
    for key in (keys.first, keys.second):
        shutil.copy(key.with_suffix(".pub"), tmp_path)
    (tmp_path / "revoked").mkdir()
    sign(archive, keys.first)
    assert asked("verify", archive, "--trust", tmp_path).exit_code == 0
    shutil.copy(keys.first.with_suffix(".pub"), tmp_path / "revoked")
    refused = asked("verify", archive, "--trust", tmp_path)
    assert "revoked" in str(refused.exception)
    sign(archive, keys.second)
    assert asked("verify", archive, "--trust", tmp_path).exit_code == 0


def test_a_private_key_is_not_to_be_trusted(keys: Keys, archive: Path) -> None:
    refused = asked("verify", archive, "--trust", keys.first)
    assert "private key" in str(refused.exception)
