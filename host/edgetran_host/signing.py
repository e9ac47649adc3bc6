"""Signs bundles with OpenSSF model-signing, makes keys for it, and says who signed one."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetran_protos.bundle import Bundle, check_digest_name
from edgetran_protos.errors import BundleError, BundleUntrusted, UsageError
from edgetran_protos.layout import Layout
from edgetran_protos.signing import (
    FOLDER,
    IGNORED,
    MOST_SIGNATURES,
    SUFFIX,
    Signature,
    Signers,
    blob_files,
    files_of,
    fingerprint,
    is_signature,
    signatures_of,
)

from edgetran_host.inspecting import check

CURVES = {"p256": "SECP256R1", "p384": "SECP384R1", "p521": "SECP521R1"}
NAME_DIGITS = 16  # of the fingerprint, in a signature's file name


@dataclass(frozen=True)
class Standing:
    """What one signature of a bundle is worth."""

    key: str  # fingerprint of the signer's key; empty: the signature does not say
    signer: str  # whom the trusted key or authority names; empty: nobody that was named
    refused: str  # why it does not count; empty: it counts, or nobody was named to trust


def make_key(path: Path, curve: str = "p256") -> tuple[Path, str]:
    """(public file, fingerprint); the private one is for its owner alone. Raises UsageError."""
    ec, forms = _cryptography()
    public_path = path.with_suffix(".pub")
    if public_path == path or path.exists() or public_path.exists():
        raise UsageError(
            f"{path} or {public_path} is there already", hint="choose another name; keys are kept"
        )
    key = ec.generate_private_key(getattr(ec, CURVES[curve])())
    secret = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    public = key.public_key().public_bytes(
        forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_new(path, secret, 0o600)
    _write_new(public_path, public, 0o644)
    return public_path, fingerprint(key.public_key())


def sign(
    path: Path, key: Path, *, certificate: Path | None = None, chain: Sequence[Path] = ()
) -> str:
    """Adds a signature, or replaces that of the same key; the key's fingerprint.

    certificate: of the key; chain: of the authorities between it and a root.
    Raises UsageError, BundleError.
    """
    bundle = check(path)
    check_whole(bundle)
    if chain and certificate is None:
        raise UsageError("a chain needs a certificate", hint="add --certificate CERT.pem")
    configured, key_print = _configured(key, certificate, chain)
    name = f"{FOLDER}/{key_print[:NAME_DIGITS]}{SUFFIX}"
    names = {one for one in Layout(path).names() if is_signature(one)} | {name}
    if len(names) > MOST_SIGNATURES:
        raise UsageError(
            f"{path} has {MOST_SIGNATURES} signatures, the most that boards take",
            hint="remove those of keys that nobody trusts any longer, from its signatures/",
        )
    with _as_folder(bundle) as folder, tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "made.sig"
        configured.sign(folder, made)
        data = made.read_bytes()
    Signature.parse(data).signed().check(files_of(path))
    _put(path, name, data)
    return key_print


def check_whole(bundle: Bundle) -> dict[str, str]:
    """The files that a signature of it covers. Raises BundleError when there are others."""
    found = files_of(bundle.path)
    named = blob_files(blob.digest for blob in bundle.transfer_blobs())
    extra = sorted(set(found) - set(named))
    if extra:
        raise BundleError(
            f"{bundle.path} holds {extra[0]}, which its manifest does not name",
            hint="pack it again, or remove what does not belong to it",
        )
    return found


def standings(bundle: Bundle, signers: Signers | None) -> list[Standing]:
    """Of every signature in the bundle; signers None: nobody was named to trust."""
    found = check_whole(bundle)
    return [_standing(data, found, signers) for data in signatures_of(bundle.path)]


def check_trusted(path: Path, found: Sequence[Standing]) -> None:
    """Raises BundleUntrusted unless one of the signatures counts."""
    if any(one.signer for one in found):
        return
    reasons = "; ".join(one.refused for one in found) or "it is not signed"
    raise BundleUntrusted(
        f"{path}: nobody whom you trust signed it: {reasons}",
        hint="sign it with `edgetran bundle sign`, or name the signer's key with --trust",
    )


def _standing(data: bytes, found: dict[str, str], signers: Signers | None) -> Standing:
    key = ""
    try:
        signature = Signature.parse(data)
        key = signature.hint or _leaf_print(signature)
        if signers is None:
            signature.signed().check(found)
            return Standing(key, "", "")
        signer, signed = signers.verify(data)
        signed.check(found)
    except BundleUntrusted as exc:
        return Standing(key, "", str(exc))
    return Standing(key, signer, "")


def _leaf_print(signature: Signature) -> str:
    """Empty: there is none that can be read."""
    from cryptography import x509

    if not signature.chain:
        return ""
    try:
        return fingerprint(x509.load_der_x509_certificate(signature.chain[0]).public_key())
    except Exception:  # what it raises on other people's bytes is not documented
        return ""


def _configured(key: Path, certificate: Path | None, chain: Sequence[Path]) -> tuple[Any, str]:
    """model-signing's own configuration, and the key's fingerprint. Raises UsageError."""
    hashing, signing = _model_signing()
    _, forms = _cryptography()
    try:
        loaded = forms.load_pem_private_key(key.read_bytes(), None)
        found = fingerprint(loaded.public_key())
        config = signing.Config()
        if certificate is None:
            config.use_elliptic_key_signer(private_key=key)
        else:
            config.use_certificate_signer(
                private_key=key,
                signing_certificate=certificate,
                certificate_chain=chain or [certificate],  # it insists on one
            )
    except OSError as exc:
        raise UsageError(f"{exc.filename} cannot be read: {exc.strerror}") from exc
    except (ValueError, TypeError, AttributeError) as exc:
        raise UsageError(
            f"{key} cannot sign: {exc}",
            hint="an unencrypted key of the curve P-256, P-384 or P-521, and its own certificate;"
            " `edgetran bundle keygen` makes a key",
        ) from exc
    whole_files = hashing.Config().use_file_serialization(hashing_algorithm="sha256")
    return config.set_hashing_config(whole_files.set_ignored_paths(paths=IGNORED)), found


@contextmanager
def _as_folder(bundle: Bundle) -> Iterator[Path]:
    """The layout as files; of a .tar a copy, gone afterwards."""
    if bundle.path.is_dir():
        yield bundle.path
        return
    where = bundle.path.absolute().parent  # as much room as the bundle itself had
    with tempfile.TemporaryDirectory(prefix=f".{bundle.path.name}.", dir=where) as scratch:
        folder = Path(scratch) / bundle.card.name
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for blob in bundle.transfer_blobs():
            (blobs / check_digest_name(blob.digest)).write_bytes(bundle.read(blob.digest))
        yield folder


def _put(path: Path, name: str, data: bytes) -> None:
    """Atomically."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.is_dir():
            place = path / name
            place.parent.mkdir(exist_ok=True)
            partial.write_bytes(data)
            os.replace(partial, place)
        else:
            _copy_with(path, partial, name, data)
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _copy_with(path: Path, copy: Path, name: str, data: bytes) -> None:
    """Signatures at the end, by name: the same bytes in whichever order they were made."""
    kept = {}
    with tarfile.open(path, "r:") as source, tarfile.open(copy, "w") as target:
        for member in source:
            file = source.extractfile(member)
            if is_signature(member.name) and file is not None:
                kept[member.name] = file.read()
            else:
                target.addfile(member, file)
        for one, content in sorted({**kept, name: data}.items()):
            info = tarfile.TarInfo(one)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    shutil.copymode(path, copy)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def _model_signing() -> tuple[Any, Any]:
    """Loaded when something is signed: it takes a second and brings thirty packages."""
    try:
        from model_signing import hashing, signing
    except ImportError as exc:
        raise UsageError(
            f"signing needs the package {exc.name}", hint="pip install 'edgetran-host[sign]'"
        ) from None
    return hashing, signing


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise UsageError(
            "signing needs the package cryptography", hint="pip install 'edgetran-host[sign]'"
        ) from None
    return ec, serialization
