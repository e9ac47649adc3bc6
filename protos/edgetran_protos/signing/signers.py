"""Whom somebody trusts to sign: a folder of public keys and certificate authorities.

FOLDER/*.pem           a public key (P-256, P-384, P-521), or certificates: roots, and those between
FOLDER/revoked/*.pem   keys or certificates that count no longer, whoever vouches for them
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, FrozenSet, List, Mapping, Sequence, Tuple

from edgetran_protos.errors import BoardError, BundleUntrusted, EdgeTranError, UsageError
from edgetran_protos.signing.chain import path_to_root
from edgetran_protos.signing.signature import Signature, Signed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate

REVOKED = "revoked"
SUFFIXES = (".pem", ".pub", ".crt")
CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}  # curve -> digest
MAX_FILE_BYTES = 64 << 10
SHOWN = 12  # digits of a fingerprint, where a person compares


@dataclass(frozen=True)
class Signer:
    """One entry of the folder."""

    name: str  # the file's, without its ending
    kind: str  # "key" or "certificate"
    fingerprint: str  # of the public key
    revoked: bool = False


@dataclass(frozen=True)
class Signers:
    keys: Mapping[str, Tuple[str, EllipticCurvePublicKey]]  # fingerprint -> name, key
    certificates: Sequence[Tuple[str, Certificate]]  # name, certificate
    revoked: FrozenSet[str]  # fingerprints

    @staticmethod
    def of(*paths: Path) -> Signers:
        """Of folders and single files; a folder that is not there trusts nobody.

        Raises BoardError when a file is neither key nor certificates.
        """
        return _collected([entry for path in paths for entry in entries(path)])

    def __bool__(self) -> bool:
        return bool(self.keys or self.certificates)

    def verify(self, data: bytes) -> Tuple[str, Signed]:
        """(who signed, what). Raises BundleUntrusted."""
        signature = Signature.parse(data)
        signer, key = self._by_chain(signature) if signature.chain else self._by_key(signature)
        _check_value(key, signature)
        return signer, signature.signed()

    def _by_key(self, signature: Signature) -> Tuple[str, EllipticCurvePublicKey]:
        hint = signature.hint
        if hint in self.revoked:
            raise _revoked(self.keys[hint][0] if hint in self.keys else "", hint)
        if hint in self.keys:
            return self.keys[hint]
        if hint:
            raise BundleUntrusted(
                f"signed with a key that is not trusted here (sha256 {hint[:SHOWN]})",
                hint="have its public key added to those that are trusted, if you know whose it is",
            )
        for fingerprint_, (name, key) in self.keys.items():  # an older signer's: it says no key
            if fingerprint_ not in self.revoked and _fits(key, signature):
                return name, key
        raise BundleUntrusted("signed with none of the keys that are trusted here")

    def _by_chain(self, signature: Signature) -> Tuple[str, EllipticCurvePublicKey]:
        x509, _ = _cryptography()
        try:
            leaf, *others = (x509.load_der_x509_certificate(der) for der in signature.chain)
            key = _supported(leaf.public_key())
            trusted = [certificate for _, certificate in self.certificates]
            path = path_to_root(leaf, others, trusted)
        except Exception as exc:  # what it raises on other people's bytes is not documented
            raise BundleUntrusted(
                f"signed with a certificate that is not trusted here: {exc}",
                hint="have its authority's certificate added to those that are trusted",
            ) from exc
        for certificate in path:
            found = fingerprint(certificate.public_key())
            if found in self.revoked:
                raise _revoked(common_name(certificate), found)
        root = next(name for name, one in self.certificates if one == path[-1])
        return f"{common_name(leaf)} ({root})", key


def entries(path: Path) -> List[Tuple[Signer, Any]]:
    """(what it is, key or certificate) of each in the folder, revoked ones too; by name.

    Raises BoardError.
    """
    if path.is_file():
        return [(signer, value) for signer, value in read_signers(path.stem, _limited(path))]
    found = []
    for folder, revoked in ((path, False), (path / REVOKED, True)):
        for file in sorted(folder.iterdir()) if folder.is_dir() else []:
            if file.suffix in SUFFIXES and not file.name.startswith("."):
                try:
                    read = read_signers(file.stem, _limited(file), revoked=revoked)
                except EdgeTranError as exc:
                    raise BoardError(f"{file}: {exc}", hint="remove the file, or mend it") from exc
                found += read
    return found


def read_signers(name: str, data: bytes, *, revoked: bool = False) -> List[Tuple[Signer, Any]]:
    """The public key or the certificates of a PEM file. Raises UsageError."""
    x509, forms = _cryptography()
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{name} is too large for keys or certificates")
    if b"PRIVATE KEY" in data:
        raise UsageError(
            f"{name} holds a private key, which must stay with whoever signs",
            hint="use the public key: keygen wrote it beside, as .pub",
        )
    try:
        if b"BEGIN CERTIFICATE" in data:
            found = x509.load_pem_x509_certificates(data)
            prints = [fingerprint(one.public_key()) for one in found]
            kind = "certificate"
        else:
            key = forms.load_pem_public_key(data)
            found = [key if revoked else _supported(key)]
            prints, kind = [fingerprint(key)], "key"
    except Exception as exc:  # what it raises on other people's bytes is not documented
        raise UsageError(
            f"{name} is neither a public key nor certificates (PEM): {exc}",
            hint="a public key for signatures is of the curve P-256, P-384 or P-521",
        ) from exc
    return [(Signer(name, kind, one, revoked), value) for one, value in zip(prints, found)]


def fingerprint(key: Any) -> str:
    """SHA-256 of the public key as PEM, hex: what model-signing calls the key's hint."""
    _, forms = _cryptography()
    pem = key.public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def common_name(certificate: Certificate) -> str:
    """For people; the whole subject where it has no common name."""
    from cryptography.x509 import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def _collected(found: Sequence[Tuple[Signer, Any]]) -> Signers:
    good = [(signer, value) for signer, value in found if not signer.revoked]
    return Signers(
        keys={s.fingerprint: (s.name, value) for s, value in good if s.kind == "key"},
        certificates=[(s.name, value) for s, value in good if s.kind == "certificate"],
        revoked=frozenset(signer.fingerprint for signer, _ in found if signer.revoked),
    )


def _check_value(key: EllipticCurvePublicKey, signature: Signature) -> None:
    if not _fits(key, signature):
        raise BundleUntrusted(
            "the signature is not what its key would have made of these files",
            hint="it was changed, or made with another key; sign the bundle again",
        )


def _fits(key: EllipticCurvePublicKey, signature: Signature) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    digest = getattr(hashes, CURVES[key.curve.name])()
    try:
        key.verify(signature.value, signature.covered, ECDSA(digest))
    except InvalidSignature:
        return False
    return True


def _supported(key: Any) -> EllipticCurvePublicKey:
    """Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise ValueError("its key is not of the curve P-256, P-384 or P-521")
    return key


def _revoked(name: str, found: str) -> BundleUntrusted:
    who = f"{name}'s key" if name else "a key"
    return BundleUntrusted(
        f"signed with {who} that was revoked here (sha256 {found[:SHOWN]})",
        hint="sign the bundle with a key that is still trusted",
    )


def _limited(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_FILE_BYTES + 1)


def _cryptography() -> Tuple[Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise UsageError(
            "signatures need the package cryptography",
            hint="pip install 'edgetran-daemon[tls]' on a board, 'edgetran-host[sign]' on a host",
        ) from None
    return x509, serialization
