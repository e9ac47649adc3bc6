"""A bundle's signatures on their way to and from a registry.

In a layout a signature is a file beside the blobs. In a registry it is an artefact of its own that
names the bundle's manifest as its subject, so that the bundle's digest stays what was signed.
Whether one is worth anything is for those to decide who check it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from edgetran_protos.bundle import (
    ANNOTATION,
    MEDIA_MANIFEST,
    Blob,
    Bundle,
    canonical_json,
    digest_of,
    parse_oci_manifest,
)
from edgetran_protos.errors import BundleCorrupt
from edgetran_protos.layout import Layout
from edgetran_protos.signing import FOLDER, SUFFIX
from edgetran_protos.signing.files import MOST_SIGNATURES
from edgetran_protos.signing.signature import MAX_BYTES, MEDIA_TYPE

from edgetran_host.bundling.client import RegistryError
from edgetran_host.bundling.repository import EMPTY, MEDIA_EMPTY, Repository, descriptor

SIGNATURE_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,99}}{re.escape(SUFFIX)}")
NAME_DIGITS = 16
TITLE = f"{ANNOTATION}.title"


def signatures_of(path: Path) -> dict[str, bytes]:
    """By file name."""
    layout = Layout(path)
    places = [name.split("/") for name in layout.names()]
    return {
        name: layout.read(f"{folder}/{name}")
        for folder, *rest in places
        for name in rest
        if folder == FOLDER and len(rest) == 1 and SIGNATURE_NAME.fullmatch(name)
    }


def send_signature(bundle: Bundle, repository: Repository, name: str, data: bytes) -> None:
    for blob in (EMPTY, data):
        if not repository.has(digest_of(blob)):
            repository.put_blob(digest_of(blob), blob)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MEDIA_MANIFEST,
        "artifactType": MEDIA_TYPE,
        "config": descriptor(MEDIA_EMPTY, EMPTY),
        "layers": [{**descriptor(MEDIA_TYPE, data), "annotations": {TITLE: name}}],
        "subject": descriptor(MEDIA_MANIFEST, bundle.manifest),
    }
    repository.refer(bundle.digest, canonical_json(manifest), MEDIA_TYPE)


def fetch_signatures(repository: Repository, digest: str, staging: Path) -> dict[str, bytes]:
    """By file name."""
    found: dict[str, bytes] = {}
    for one in repository.referrers(digest, MEDIA_TYPE):
        if len(found) == MOST_SIGNATURES:
            raise RegistryError(f"{digest} has more than {MOST_SIGNATURES} signatures there")
        name, blob = _signature_of(repository.manifest(one["digest"]), one["digest"])
        file = staging / blob.digest.partition(":")[2]
        repository.fetch(blob, file, lambda here: None)
        found[name if name not in found else _named(blob.digest)] = file.read_bytes()
    return found


def _signature_of(manifest: bytes, digest: str) -> tuple[str, Blob]:
    """Its file name, and its blob."""
    _, *layers = parse_oci_manifest(manifest)
    if len(layers) != 1 or layers[0].size_bytes > MAX_BYTES:
        raise BundleCorrupt(f"{digest} is no signature", hint="the registry is not to be trusted")
    annotations = json.loads(manifest)["layers"][0].get("annotations") or {}
    name = str(annotations.get(TITLE, ""))
    return name if SIGNATURE_NAME.fullmatch(name) else _named(layers[0].digest), layers[0]


def _named(digest: str) -> str:
    """A name for what has none that is fit."""
    return f"{digest.partition(':')[2][:NAME_DIGITS]}{SUFFIX}"
