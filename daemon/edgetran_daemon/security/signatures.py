"""Signatures of bundles as the board keeps them, and what they are worth when one is to be used.

They lie beside the manifest's blob, as blobs/sha256/<hex>.<hex of the signature>.sig, and go
with it. Each use judges them anew: whom the board trusts may have changed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

from edgetran_protos.errors import BoardBusy, BundleUntrusted, EdgeTranError
from edgetran_protos.signing import MOST_SIGNATURES, SUFFIX, Signature, Signers, blob_files

from edgetran_daemon.deployment.ledger import partial_of, write_atomically
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.room import room

log = logging.getLogger(__name__)

NAME_DIGITS = 16


class Signatures:
    """`folder`: of whom this board trusts; required: what none of them signed is refused."""

    def __init__(self, blobs: BlobStore, folder: Path, *, required: bool = False) -> None:
        self._blobs = blobs
        self._folder = folder
        self.required = required

    def add(self, digest: str, data: bytes) -> None:
        """digest: of a manifest on the board. Raises BundleUntrusted, BundleMissing, BoardBusy."""
        Signature.parse(data)
        name = hashlib.sha256(data).hexdigest()[:NAME_DIGITS]
        manifest = self._blobs.path(digest)
        place = manifest.with_name(f"{manifest.name}.{name}{SUFFIX}")
        if place.exists():
            return
        if len(self._places(digest)) >= MOST_SIGNATURES:
            self._make_room(digest)
        partial_of(place).unlink(missing_ok=True)
        with room("a signature"):
            write_atomically(place, data, "signature")

    def signer(self, digest: str, blobs: Iterable[str]) -> str:
        """Who signed, of whom the board trusts; empty: nobody, where that may be.

        blobs: every digest of the bundle. Raises BundleUntrusted.
        """
        found = [place.read_bytes() for place in self._places(digest)]
        if not found:
            if self.required:
                raise BundleUntrusted(
                    "the bundle is not signed, and this board takes only what is",
                    hint="sign it with `edgetran bundle sign`, and send it again",
                )
            return ""
        try:
            return self._trusted(found, blob_files(blobs))
        except EdgeTranError as exc:
            if self.required:
                raise
            log.info("a signature counts for nothing here: %s", exc)
            return ""

    def _trusted(self, found: list[bytes], files: dict[str, str]) -> str:
        """Raises BundleUntrusted, BoardError."""
        signers, refused = Signers.of(self._folder), []
        for data in found:
            try:
                signer, signed = signers.verify(data)
                signed.check(files)
                return signer
            except BundleUntrusted as exc:
                refused.append(exc)
        reasons = "; ".join(str(one) for one in refused)
        raise BundleUntrusted(
            f"nobody whom this board trusts signed the bundle: {reasons}", hint=refused[0].hint
        )

    def _places(self, digest: str) -> list[Path]:
        manifest = self._blobs.path(digest)
        return sorted(manifest.parent.glob(f"{manifest.name}.*{SUFFIX}"))

    def _make_room(self, digest: str) -> None:
        """Those of nobody that is trusted go first. Raises BoardBusy."""
        signers, gone = Signers.of(self._folder), 0
        for place in self._places(digest):
            try:
                signers.verify(place.read_bytes())
            except BundleUntrusted:
                place.unlink()
                gone += 1
        if not gone:
            raise BoardBusy(f"bundle {digest} has {MOST_SIGNATURES} signatures, the most it may")
