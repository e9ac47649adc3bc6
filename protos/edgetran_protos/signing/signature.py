"""One signature as OpenSSF model-signing writes it: what was signed, and what shows by whom.

A Sigstore bundle (JSON) holds a DSSE envelope, that an in-toto statement, that names every file of
the model with its digest. Of the forms that model-signing knows, those are read here that a board
needs: made with an elliptic-curve key or certificate, over whole files, by their SHA-256.
What a signature says counts only once `signers.py` has verified it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, FrozenSet, Mapping, Tuple

from edgetran_protos.errors import BundleUntrusted

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
SERIALIZATION = {"method": "files", "hash_type": "sha256"}
MAX_BYTES = 256 << 10
MOST_CERTIFICATES = 8
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True)
class Signed:
    """What a signature vouches for."""

    files: Mapping[str, str]  # path in the bundle -> SHA-256, hex
    ignored: FrozenSet[str]  # paths (files or folders) that it says nothing about

    def check(self, found: Mapping[str, str]) -> None:
        """found: every file that is there, but for the ignored. Raises BundleUntrusted."""
        for what, names in (
            ("a file that was not signed", set(found) - set(self.files)),
            ("a signed file is missing", set(self.files) - set(found)),
            ("another content was signed", {n for n in found if self.files.get(n) != found[n]}),
        ):
            if names:
                raise BundleUntrusted(
                    f"the signature is not of these files: {what}: {min(names)}",
                    hint="the bundle was changed after it was signed; get it anew",
                )


@dataclass(frozen=True)
class Signature:
    payload: bytes
    value: bytes  # over `covered`
    hint: str  # fingerprint of the signer's key; empty: not said
    chain: Tuple[bytes, ...]  # certificates (DER), the signer's first; empty: a bare key

    @staticmethod
    def parse(data: bytes) -> "Signature":
        """Raises BundleUntrusted."""
        if len(data) > MAX_BYTES:
            raise BundleUntrusted(f"a signature has {len(data)} bytes, more than {MAX_BYTES}")
        try:
            raw = json.loads(data.decode())
            only(raw, "mediaType", "verificationMaterial", "dsseEnvelope")
            if raw["mediaType"] != MEDIA_TYPE:
                raise ValueError(f"its media type is {raw['mediaType']!r}")
            hint, chain = _material(raw["verificationMaterial"])
            payload, value = _envelope(raw["dsseEnvelope"])
        except MALFORMED as exc:
            raise BundleUntrusted(
                f"a signature cannot be read: {exc}",
                hint="sign the bundle again with `edgetran bundle sign`",
            ) from exc
        return Signature(payload, value, hint, chain)

    @property
    def covered(self) -> bytes:
        """The bytes under the signature: DSSE's encoding of payload and type."""
        kind = PAYLOAD_TYPE.encode()
        head = b"DSSEv1 %d %s %d " % (len(kind), kind, len(self.payload))
        return head + self.payload

    def signed(self) -> Signed:
        """Raises BundleUntrusted."""
        try:
            return _signed(json.loads(self.payload))
        except MALFORMED as exc:
            raise BundleUntrusted(f"what was signed cannot be read: {exc}") from exc


def only(raw: Mapping[str, Any], *known: str) -> None:
    """Raises ValueError when an object has another field."""
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is unknown")


def _material(raw: Mapping[str, Any]) -> Tuple[str, Tuple[bytes, ...]]:
    """(hint, certificates); a signature has one of the two."""
    only(raw, "publicKey", "x509CertificateChain", "tlogEntries")
    if raw.get("tlogEntries", []) != []:
        raise ValueError("it was made with an account (keyless), which nobody can check offline")
    key, chain = raw.get("publicKey"), raw.get("x509CertificateChain")
    if key is not None and chain is not None:
        raise ValueError("it names both a key and certificates")
    if key is not None:
        only(key, "hint", "rawBytes", "keyDetails")  # the last two: of older signers, not used
        return _text(key["hint"]) if key.get("hint") is not None else "", ()
    if chain is None:
        raise ValueError("it names neither a key nor certificates")
    only(chain, "certificates")
    entries = chain["certificates"]
    if not 1 <= len(entries) <= MOST_CERTIFICATES:
        raise ValueError(f"it has {len(entries)} certificates, not 1 to {MOST_CERTIFICATES}")
    for entry in entries:
        only(entry, "rawBytes")
    return "", tuple(base64.b64decode(_text(entry["rawBytes"])) for entry in entries)


def _envelope(raw: Mapping[str, Any]) -> Tuple[bytes, bytes]:
    """(payload, signature); of several signatures the first, as model-signing takes it."""
    only(raw, "payload", "payloadType", "signatures")
    if raw["payloadType"] != PAYLOAD_TYPE:
        raise ValueError(f"its payload is {raw['payloadType']!r}")
    for entry in raw["signatures"]:
        only(entry, "sig", "keyid")
        _text(entry["sig"]), _text(entry.get("keyid") or "")
    first = raw["signatures"][0]
    return base64.b64decode(_text(raw["payload"])), base64.b64decode(first["sig"])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} is no text")
    return value


def _signed(raw: Mapping[str, Any]) -> Signed:
    if raw["_type"] != STATEMENT_TYPE or raw["predicateType"] != PREDICATE_TYPE:
        raise ValueError("it is no statement of model-signing 1.0")
    (subject,) = raw["subject"]
    predicate = raw["predicate"]
    _text(subject["name"])
    how = predicate["serialization"]
    if any(how[name] != value for name, value in SERIALIZATION.items()):
        raise ValueError("boards read signatures over whole files by SHA-256 alone")
    _ = how["allow_symlinks"]
    whole, files = hashlib.sha256(), {}
    for entry in predicate["resources"]:
        digest = bytes.fromhex(entry["digest"])
        whole.update(digest)
        if entry["algorithm"] != SERIALIZATION["hash_type"]:
            raise ValueError(f"{entry['name']!r} is signed by its {entry['algorithm']!r}")
        files[str(PurePosixPath(_text(entry["name"])))] = digest.hex()
    if whole.hexdigest() != subject["digest"]["sha256"]:
        raise ValueError("its digest is not that of the files it names")
    ignored = frozenset(str(PurePosixPath(_text(path))) for path in how.get("ignore_paths", ()))
    return Signed(files, ignored)
