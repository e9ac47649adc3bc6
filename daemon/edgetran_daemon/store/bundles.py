"""Bundles as the board holds them: a manifest's blobs, found by digest in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from edgetran_protos.bundle import (
    BundleCard,
    Variant,
    card_digest,
    parse_oci_manifest,
)
from edgetran_protos.errors import (
    BoardBusy,
    BundleError,
    BundleMissing,
    UnknownVariant,
    UsageError,
)

from edgetran_daemon.runtimes import RUNTIMES
from edgetran_daemon.security.signatures import Signatures
from edgetran_daemon.serving.worker_pythons import OWN, WorkerPythons
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.self_contained import check_self_contained

MAX_MANIFEST_BYTES = 256 << 10
MAX_CARD_BYTES = 16 << 20
READ_ONNX = ("onnxruntime", "tensorrt", "myriad")
LOOSE_S = 24 * 3600.0  # how long a blob that no deployment names is kept


@dataclass(frozen=True)
class StoredBundle:
    """A bundle whose manifest and card are on the board and can be read."""

    digest: str
    blobs: tuple[str, ...]  # every digest, the manifest's included
    card: BundleCard
    signed_by: str = ""  # of whom the board trusts; empty: nobody, and none has to be
    pythons: WorkerPythons = field(default=OWN, compare=False)  # of this board

    def variant(self, name: str) -> Variant:
        """The named variant; an empty name: the first whose runtime the board has."""
        if name:
            return self.card.variant(name)
        for variant in self.card.variants:
            if variant.runtime not in RUNTIMES:
                continue
            if not self.pythons.status(variant.runtime).unavailable:
                return variant
        wanted = ", ".join(f"{v.name} ({v.runtime})" for v in self.card.variants)
        raise UnknownVariant(
            f"bundle {self.card.name} has no variant for a runtime of this board",
            hint=f"it has: {wanted}; install one of these runtimes on the board",
        )


class BundleStore:
    """Reads bundles, and frees the blobs that none needs any longer."""

    def __init__(
        self,
        blobs: BlobStore,
        pythons: WorkerPythons = OWN,
        signatures: Optional[Signatures] = None,  # None: of no interest
    ) -> None:
        self.blobs = blobs
        self.pythons = pythons
        self._signatures = signatures
        self._pins: Counter[str] = Counter()

    def open(self, digest: str) -> StoredBundle:
        """Raises BundleMissing naming every blob that is not here, BundleError, BundleCorrupt.

        BundleUntrusted, before anything but the manifest is read, when the board takes only
        what somebody signed whom it trusts.
        """
        entries = parse_oci_manifest(self.blobs.read(digest, MAX_MANIFEST_BYTES))
        missing = [
            entry.file or entry.digest for entry in entries if not self.blobs.has(entry.digest)
        ]
        if missing:
            raise BundleMissing(
                f"bundle {digest} lacks {len(missing)} blobs: {', '.join(missing[:5])}",
                hint="send the bundle again",
            )
        digests = tuple(dict.fromkeys([*(entry.digest for entry in entries), digest]))
        signed_by = self._signatures.signer(digest, digests) if self._signatures else ""
        card = BundleCard.from_json(self.blobs.read(card_digest(entries), MAX_CARD_BYTES))
        for needed in [card.tokenizer_digest, *(variant.digest for variant in card.variants)]:
            if needed not in digests:
                raise BundleError(f"the card names blob {needed}, which the manifest does not")
        return StoredBundle(digest, digests, card, signed_by, self.pythons)

    def verify(self, bundle: StoredBundle) -> int:
        """Total size in bytes, after every hash was checked."""
        return sum(self.blobs.verify(digest) for digest in bundle.blobs)

    def graph(self, variant: Variant) -> Path:
        """Raises BundleMissing, BundleError."""
        path = self.blobs.path(variant.digest)
        if variant.runtime in READ_ONNX:
            check_self_contained(path)
        return path

    @contextmanager
    def pinned(self, digest: str) -> Iterator[None]:
        """Within, the bundle's blobs stay."""
        self._pins[digest] += 1
        try:
            yield
        finally:
            self._pins[digest] -= 1
            if not self._pins[digest]:
                del self._pins[digest]

    def discard(self, digest: str, deployed: Iterable[str]) -> int:
        """Frees one bundle's own blobs; the bytes freed."""
        deployed = set(deployed)
        if digest in deployed:
            raise UsageError(
                f"bundle {digest} is deployed", hint="remove the model that serves it first"
            )
        if self._pins[digest]:
            raise BoardBusy(f"bundle {digest} is in use", hint="try again when the work is done")
        if not self.blobs.has(digest):
            raise BundleMissing(f"no bundle {digest} on the board", hint="nothing is left to drop")
        return self.free([digest], deployed)

    def free(self, bundles: Iterable[str], deployed: Iterable[str]) -> int:
        """Removes the blobs of `bundles` that no other bundle on the board names."""
        going = {digest for digest in bundles if not self._pins[digest]} - set(deployed)
        kept = {d for manifest in self._manifests() - going for d in self._named(manifest)}
        names = {digest for manifest in going for digest in self._named(manifest)}
        return sum(self.blobs.remove(digest) for digest in sorted(names - kept))

    def collect(self, deployed: Iterable[str], now_unix_s: float, loose_s: float = LOOSE_S) -> int:
        """Removes what no deployment names, unless it is recent or in use; the bytes freed."""
        kept = {d for manifest in {*deployed, *self._pins} for d in self._named(manifest)}
        old = [
            digest
            for digest in self.blobs.digests()
            if digest not in kept and self.blobs.age_s(digest, now_unix_s) > loose_s
        ]
        return sum(self.blobs.remove(digest) for digest in old) + self.blobs.drop_partials(
            now_unix_s, loose_s
        )

    def _manifests(self) -> set[str]:
        return {digest for digest in self.blobs.digests() if len(self._named(digest)) > 1}

    def _named(self, manifest: str) -> set[str]:
        """What a manifest names and itself; itself alone when it is no manifest."""
        if not self.blobs.has(manifest):
            return set()
        path = self.blobs.path(manifest)
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            return {manifest}
        try:
            return {manifest, *(entry.digest for entry in parse_oci_manifest(path.read_bytes()))}
        except BundleError:  # a card, a tokenizer or a small graph
            return {manifest}
