"""Bundles between files and registries, with their signatures; whole at the end, or not there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgetran.progress import OnProgress, Progress, ignore
from edgetran_protos.bundle import (
    MEDIA_MANIFEST,
    Blob,
    Bundle,
    canonical_json,
    card_digest,
    digest_of,
    parse_oci_manifest,
)
from edgetran_protos.errors import EdgeTranError, UsageError
from edgetran_protos.layout import Layout, write_layout
from edgetran_protos.signing import FOLDER

from edgetran_host.bundling.client import Client, RegistryError
from edgetran_host.bundling.reference import Reference, is_reference
from edgetran_host.bundling.repository import Repository, descriptor
from edgetran_host.bundling.signatures import (
    fetch_signatures,
    send_signature,
    signatures_of,
)
from edgetran_host.inspecting import check


@dataclass(frozen=True)
class Pushed:
    where: str  # with tag and digest: what to pull
    digest: str
    sent_bytes: int
    size_bytes: int  # the rest was there
    signatures: int


def push(
    path: Path, reference: Reference, insecure: bool = False, on_progress: OnProgress = ignore
) -> Pushed:
    """insecure: plain http. Raises BundleError, BundleCorrupt, RegistryError."""
    bundle = check(path)  # nothing is sent of a bundle that is not whole
    if reference.digest not in ("", bundle.digest):
        raise UsageError(
            f"{path} is {bundle.digest}, not {reference.digest}", hint="push it to a tag"
        )
    repository = Repository(Client(reference, insecure))
    sent = _send(bundle, repository, on_progress)
    signatures = signatures_of(path)
    for name, data in signatures.items():
        send_signature(bundle, repository, name, data)
    repository.put_manifest(reference.tag or bundle.digest, bundle.manifest)  # last: now it counts
    tag = f":{reference.tag}" if reference.tag else ""
    where = f"oci://{reference.host}/{reference.name}{tag}@{bundle.digest}"
    return Pushed(where, bundle.digest, sent, bundle.size_bytes, len(signatures))


def _send(bundle: Bundle, repository: Repository, on_progress: OnProgress) -> int:
    """The bytes that were not there."""
    blobs = {blob.digest: blob for blob in bundle.blobs}
    total, done, sent = float(sum(blob.size_bytes for blob in blobs.values())), 0.0, 0
    for blob in blobs.values():
        if not repository.has(blob.digest):
            on_progress(Progress("push", done, total, blob.file))
            repository.put_blob(blob.digest, bundle.read(blob.digest))
            sent += blob.size_bytes
        done += blob.size_bytes
    on_progress(Progress("push", total, total))
    return sent


def pull(
    reference: Reference, path: Path, insecure: bool = False, on_progress: OnProgress = ignore
) -> Bundle:
    """To a .tar or a folder; one that was cut short goes on where it stopped.

    Raises BundleMissing, BundleError, BundleCorrupt, RegistryError.
    """
    path = Path(os.path.abspath(path))  # "." has no name
    repository = Repository(Client(reference, insecure))
    manifest = repository.manifest(reference.wanted)
    digest = digest_of(manifest)
    named = parse_oci_manifest(manifest)
    card_digest(named)  # nothing is fetched of what is no bundle
    with _staging(path) as staging:
        blobs = _fetch(repository, named, staging, on_progress)
        tree = {_place(one): data for one, data in {**blobs, digest: manifest}.items()}
        tree["oci-layout"] = canonical_json({"imageLayoutVersion": "1.0.0"})
        index = {"schemaVersion": 2, "manifests": [descriptor(MEDIA_MANIFEST, manifest)]}
        tree["index.json"] = canonical_json(index)
        for name, data in fetch_signatures(repository, digest, staging).items():
            tree[f"{FOLDER}/{name}"] = data
        made = staging / "made.tar"
        write_layout(made, tree)
        check(made)  # what is no bundle of ours replaces none
        write_layout(path, tree)
    return Bundle.open(path)


def _fetch(
    repository: Repository, blobs: tuple[Blob, ...], staging: Path, on_progress: OnProgress
) -> dict[str, bytes]:
    wanted = {blob.digest: blob for blob in blobs}
    total, done = float(sum(blob.size_bytes for blob in wanted.values())), 0.0
    found = {}
    for digest, blob in wanted.items():
        before = done

        def listen(here: int, before: float = before, name: str = blob.file) -> None:
            on_progress(Progress("pull", before + here, total, name))

        file = staging / digest.partition(":")[2]
        repository.fetch(blob, file, listen)
        found[digest] = file.read_bytes()
        done += blob.size_bytes
    on_progress(Progress("pull", total, total))
    return found


def copy(source: str, target: str, insecure: bool = False, on_progress: OnProgress = ignore) -> str:
    """Between files and registries, either way; the bundle's digest."""
    with here(source, insecure, on_progress) as path:
        if is_reference(target):
            return push(path, Reference.parse(target), insecure, on_progress).digest
        bundle, layout = check(path), Layout(path)
        digests = {bundle.digest, *(blob.digest for blob in bundle.blobs)}
        names = ["oci-layout", "index.json", *sorted(map(_place, digests))]
        names += [f"{FOLDER}/{name}" for name in signatures_of(path)]
        write_layout(Path(os.path.abspath(target)), {name: layout.read(name) for name in names})
        return bundle.digest


@contextlib.contextmanager
def here(place: str, insecure: bool = False, on_progress: OnProgress = ignore) -> Iterator[Path]:
    """The bundle as a file: itself, or pulled for the time of a `with` block."""
    if not is_reference(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="edgetran-pulled-") as folder:
        path = Path(folder) / "bundle.tar"
        pull(Reference.parse(place), path, insecure, on_progress)
        yield path


@contextlib.contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """A folder beside `path` that outlives an interruption, for one process at a time."""
    folder = path.with_name(f".{path.name}.pull")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise UsageError(
                f"another process is pulling to {path}", hint="wait for it, or name another file"
            ) from exc
        try:
            yield folder
        except RegistryError:
            raise  # the next try goes on from here
        except EdgeTranError:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def _place(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"
