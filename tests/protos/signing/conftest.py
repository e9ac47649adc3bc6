"""A signed bundle, and both verifiers: OpenSSF's own and ours, asked the same question."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from edgetran_host.signing import make_key, sign
from edgetran_protos.errors import EdgeTranError
from edgetran_protos.signing import Signers, files_of

pytest.importorskip("model_signing", reason="pip install 'edgetran-host[sign]'")

SIGNATURE = "s.sig"


@dataclass(frozen=True)
class Specimen:
    """A bundle's folder beside a signature and what is trusted; a test may spoil all of it."""

    folder: Path
    signature: Path
    trusted: Path
    key: Path  # the private one

    def read(self) -> Any:
        return json.loads(self.signature.read_text())

    def write(self, raw: Any) -> None:
        self.signature.write_text(json.dumps(raw))

    def payload(self) -> Any:
        return json.loads(base64.b64decode(self.read()["dsseEnvelope"]["payload"]))

    def sign_anew(self, payload: bytes, kind: bytes = b"application/vnd.in-toto+json") -> None:
        """The same key over another payload; what it covers is DSSE's encoding."""
        raw = self.read()
        covered = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
        self.write_over(raw, payload, covered)

    def write_over(self, raw: Any, payload: bytes, covered: bytes) -> None:
        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        value = key.sign(covered, ec.ECDSA(hashes.SHA256()))
        envelope = raw["dsseEnvelope"]
        envelope["payload"] = base64.b64encode(payload).decode()
        envelope["signatures"] = [{"sig": base64.b64encode(value).decode(), "keyid": ""}]
        self.write(raw)

    def change(self, how: Callable[[Any], object], *, root: bool = True) -> None:
        """Signs a changed statement; root: whose digest over all files is right again."""
        statement = self.payload()
        how(statement)
        if root:
            whole = hashlib.sha256()
            for entry in statement["predicate"]["resources"]:
                whole.update(bytes.fromhex(entry["digest"]))
            statement["subject"][0]["digest"]["sha256"] = whole.hexdigest()
        self.sign_anew(json.dumps(statement).encode())

    def blobs(self) -> list[Path]:
        return sorted((self.folder / "blobs" / "sha256").iterdir())


@pytest.fixture(scope="session")
def signed_once(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Specimen:
    home = tmp_path_factory.mktemp("signed")
    tiny.make(home / "bundle")
    key = home / "release.pem"
    public, _ = make_key(key)
    sign(home / "bundle", key)
    made = next((home / "bundle" / "signatures").iterdir())
    shutil.copy(made, home / SIGNATURE)
    return Specimen(home / "bundle", home / SIGNATURE, public, key)


@pytest.fixture
def specimen(signed_once: Specimen, tmp_path: Path) -> Specimen:
    home = tmp_path / "specimen"
    shutil.copytree(signed_once.folder.parent, home)
    return Specimen(
        home / "bundle", home / SIGNATURE, home / signed_once.trusted.name, home / "release.pem"
    )


def theirs(specimen: Specimen) -> bool:
    from model_signing import verifying

    config = verifying.Config()
    try:
        if "CERTIFICATE" in specimen.trusted.read_text():
            config.use_certificate_verifier(certificate_chain=[specimen.trusted])
        else:
            config.use_elliptic_key_verifier(public_key=specimen.trusted)
        config.verify(specimen.folder, specimen.signature)
    except Exception:  # whatever it raises is its no
        return False
    return True


def ours(specimen: Specimen) -> bool:
    """Nothing but our own errors may come out of it."""
    try:
        signers = Signers.of(specimen.trusted)
        _, signed = signers.verify(specimen.signature.read_bytes())
        signed.check(files_of(specimen.folder, signed.ignored))
    except EdgeTranError:
        return False
    return True


def verdict(specimen: Specimen) -> bool:
    """Of both."""
    found = ours(specimen)
    assert theirs(specimen) is found
    return found
