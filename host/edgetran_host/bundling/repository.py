"""One repository of an OCI registry: blobs and manifests by digest, and what refers to them.

The bytes that come are those that were asked for, or none: every digest is checked here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import requests
from edgetran_protos.bundle import (
    CHUNK_BYTES,
    MEDIA_MANIFEST,
    Blob,
    canonical_json,
    check_digest_name,
    digest_of,
)
from edgetran_protos.errors import BundleCorrupt, BundleMissing

from edgetran_host.bundling.client import Client, RegistryError

MEDIA_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
MOST_MANIFEST_BYTES = 4 << 20  # what the specification asks a registry to take
MOST_PAGES = 16  # of a list
BROKEN_TRIES = 3  # in a row that bring nothing new
OCTETS = {"Content-Type": "application/octet-stream"}

OnBytes = Callable[[int], None]  # how many of a blob are here now


class Repository:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._reference = client.reference

    def has(self, digest: str) -> bool:
        answer = self._client.ask("HEAD", f"blobs/{digest}")
        if answer.status_code not in (200, 404):
            raise self._client.refused(answer, f"a look at {self._reference}")
        return answer.status_code == 200

    def put_blob(self, digest: str, data: bytes) -> None:
        """In one piece: not every registry takes several."""
        begun = self._client.ask("POST", "blobs/uploads/", headers=OCTETS)
        where = begun.headers.get("Location", "")
        if begun.status_code != 202 or not where:
            raise self._client.refused(begun, f"an upload to {self._reference}")
        whole = urlsplit(urljoin(str(begun.url), where))
        query = urlencode([*parse_qsl(whole.query, keep_blank_values=True), ("digest", digest)])
        answer = self._client.ask(
            "PUT", whole._replace(query=query).geturl(), data=data, headers=OCTETS
        )
        if answer.status_code != 201:
            raise self._client.refused(answer, f"the blob {digest}")

    def manifest(self, wanted: str) -> bytes:
        """wanted: a tag or a digest. Raises BundleMissing, BundleCorrupt."""
        accept = {"Accept": f"{MEDIA_MANIFEST}, {MEDIA_INDEX}"}
        answer = self._client.ask("GET", f"manifests/{wanted}", headers=accept, stream=True)
        if answer.status_code == 404:
            raise BundleMissing(
                f"{self._reference} is not there", hint="check the name, the tag and the registry"
            )
        if answer.status_code != 200:
            raise self._client.refused(answer, f"to give {self._reference}")
        data = _limited(answer, MOST_MANIFEST_BYTES, str(self._reference))
        if ":" in wanted and digest_of(data) != wanted:
            raise BundleCorrupt(
                f"{self._reference}: asked for {wanted}, got {digest_of(data)}",
                hint="the registry is damaged, or not to be trusted",
            )
        return data

    def put_manifest(self, wanted: str, data: bytes, media_type: str = MEDIA_MANIFEST) -> bool:
        """wanted: a tag or the digest. False: the registry keeps no list of what refers to it."""
        kind = {"Content-Type": media_type}
        answer = self._client.ask("PUT", f"manifests/{wanted}", data=data, headers=kind)
        if answer.status_code != 201:
            raise self._client.refused(answer, f"the manifest {wanted}")
        return "OCI-Subject" in answer.headers

    def fetch(self, blob: Blob, path: Path, on_bytes: OnBytes) -> None:
        """To `path`, from where an earlier try stopped. Raises BundleCorrupt, RegistryError."""
        here, tries = _size(path), 0
        while here < blob.size_bytes:
            try:
                self._append(blob, path, on_bytes)
            except requests.RequestException as exc:
                tries = tries + 1 if _size(path) <= here else 0
                if tries == BROKEN_TRIES:
                    raise RegistryError(
                        f"{self._reference} breaks off in {blob.digest}: {exc}",
                        hint="give the same command again; it goes on from there",
                    ) from exc
            here = _size(path)
        found = _digest_of_file(path)
        if found != blob.digest:
            path.unlink()
            raise BundleCorrupt(
                f"{self._reference}: expected {blob.digest}, found {found}",
                hint="give the same command again; if it recurs, the registry is damaged",
            )

    def _append(self, blob: Blob, path: Path, on_bytes: OnBytes) -> None:
        here = _size(path)
        part = {"Range": f"bytes={here}-"} if here else {}
        place = f"blobs/{blob.digest}"
        with self._client.ask("GET", place, headers=part, stream=True) as answer:
            if answer.status_code not in (200, 206):
                raise self._client.refused(answer, f"to give {blob.digest}")
            if answer.status_code == 200:  # all of it, whatever was asked
                here = 0
            with path.open("ab" if here else "wb") as file:
                for piece in answer.iter_content(CHUNK_BYTES):
                    here += len(piece)
                    if here > blob.size_bytes:
                        raise BundleCorrupt(
                            f"{self._reference}: {blob.digest} is larger than its manifest says",
                            hint="the registry is damaged, or not to be trusted",
                        )
                    file.write(piece)
                    on_bytes(here)
            if here < blob.size_bytes:
                raise requests.ConnectionError(f"{here} of {blob.size_bytes} bytes came")

    def referrers(self, digest: str, artefact: str) -> list[dict[str, Any]]:
        """Descriptors of the manifests of this type that name this one as their subject."""
        place, found = f"referrers/{digest}?{urlencode({'artifactType': artefact})}", []
        for _ in range(MOST_PAGES):
            answer = self._client.ask("GET", place, stream=True)
            if answer.status_code != 200:
                answer.close()
                return _of_type(self._fallen_back(digest), artefact)
            data = _limited(answer, MOST_MANIFEST_BYTES, "the list of referrers")
            found += _descriptors(data)
            following = answer.links.get("next", {}).get("url", "")
            if not following:
                return _of_type(found, artefact)
            place = urljoin(str(answer.url), following)
        raise RegistryError(f"the list of what refers to {digest} has no end")

    def _fallen_back(self, digest: str) -> list[dict[str, Any]]:
        """The list under a tag, where a registry keeps none itself."""
        try:
            return _descriptors(self.manifest(_fallback(digest)))
        except BundleMissing:
            return []

    def refer(self, subject: str, data: bytes, artefact: str) -> None:
        """Stores the manifest `data`, which names the manifest `subject`.

        A registry that keeps no list gets one under a tag, as the specification says.
        """
        digest = digest_of(data)
        if self.put_manifest(digest, data):
            return
        known = [one for one in self._fallen_back(subject) if one["digest"] != digest]
        own = {
            "mediaType": MEDIA_MANIFEST,
            "digest": digest,
            "size": len(data),
            "artifactType": artefact,
        }
        index = {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": [*known, own]}
        self.put_manifest(_fallback(subject), canonical_json(index), MEDIA_INDEX)


def _of_type(found: list[dict[str, Any]], artefact: str) -> list[dict[str, Any]]:
    """A registry need not choose itself."""
    return [one for one in found if one.get("artifactType") == artefact]


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _fallback(digest: str) -> str:
    return f"sha256-{check_digest_name(digest)}"


def _descriptors(index: bytes) -> list[dict[str, Any]]:
    try:
        found = json.loads(index)["manifests"]
        for one in found:
            check_digest_name(one["digest"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise RegistryError(f"the list of referrers is malformed: {exc}") from exc
    return list(found)


def _limited(answer: requests.Response, most: int, what: str) -> bytes:
    data = b""
    try:
        with answer:
            for piece in answer.iter_content(CHUNK_BYTES):
                data += piece
                if len(data) > most:
                    raise BundleCorrupt(f"{what} is larger than {most} bytes")
    except requests.RequestException as exc:
        raise RegistryError(f"{what} breaks off: {exc}", hint="give the command again") from exc
    return data


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"
