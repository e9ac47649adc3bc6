"""The files of a bundle with their digests, from a folder or a .tar, and the signatures in it.

Signed is every file in `blobs`: manifest, card, graphs, tokenizer. Not signed are the signatures
themselves, in a folder of their own, and what only points to the manifest and may be rewritten on
the way through a registry: `index.json`, `oci-layout`.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Dict, Iterable, Iterator, List, Tuple

from edgetran_protos.bundle import check_digest_name
from edgetran_protos.errors import BundleUntrusted
from edgetran_protos.signing.signature import MAX_BYTES

FOLDER = "signatures"
SUFFIX = ".sig"
IGNORED = (FOLDER, "index.json", "oci-layout")
ALWAYS_IGNORED = (".git", ".gitattributes", ".github", ".gitignore")  # by model-signing
MOST_SIGNATURES = 8
READ_BYTES = 1 << 20


def blob_files(digests: Iterable[str]) -> Dict[str, str]:
    """The files of a bundle that is known by its blobs' digests, the manifest's among them."""
    hexes = (check_digest_name(digest) for digest in digests)
    return {f"blobs/sha256/{one}": one for one in hexes}


def files_of(path: Path, ignored: Iterable[str] = IGNORED) -> Dict[str, str]:
    """Path inside -> SHA-256 (hex). Links and special files are refused, wherever they are.

    Raises BundleUntrusted, OSError, tarfile.TarError.
    """
    hidden = [PurePosixPath(name) for name in (*ignored, *ALWAYS_IGNORED)]
    found: Dict[str, str] = {}
    for name, file in _open_files(path):
        place = PurePosixPath(name)
        if str(place) in found:
            raise BundleUntrusted(f"{path} holds {place} twice", hint="pack it again")
        if not any(place == one or one in place.parents for one in hidden):
            found[str(place)] = _sha256(file)
    return found


def signatures_of(path: Path) -> List[bytes]:
    """As they lie in the bundle, in the order of their names. Raises BundleUntrusted."""
    read = _from_folder if path.is_dir() else _from_tar
    found = read(path)
    if len(found) > MOST_SIGNATURES:
        raise BundleUntrusted(f"{path} has {len(found)} signatures, more than {MOST_SIGNATURES}")
    return [found[name] for name in sorted(found)]


def is_signature(name: str) -> bool:
    place = PurePosixPath(name)
    return str(place.parent) == FOLDER and place.suffix == SUFFIX


def _open_files(path: Path) -> Iterator[Tuple[str, BinaryIO]]:
    if not path.is_dir():
        yield from _members(path)
        return
    _check_kind(path, path)
    for place in sorted(path.glob("**/*")):
        _check_kind(path, place)
        if place.is_file():
            with place.open("rb") as file:
                yield place.relative_to(path).as_posix(), file


def _check_kind(bundle: Path, place: Path) -> None:
    mode = os.lstat(place).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _odd(bundle, place.name)


def _members(path: Path) -> Iterator[Tuple[str, BinaryIO]]:
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.isdir():
                continue
            file = tar.extractfile(member) if member.isreg() else None
            if file is None or member.sparse is not None:
                raise _odd(path, member.name)
            yield member.name, file  # type: ignore[misc]


def _odd(bundle: Path, name: str) -> BundleUntrusted:
    return BundleUntrusted(
        f"{bundle}: {name} is a link or no plain file", hint="copy the bundle without links"
    )


def _sha256(file: BinaryIO) -> str:
    running = hashlib.sha256()
    while True:
        chunk = file.read(READ_BYTES)
        if not chunk:
            return running.hexdigest()
        running.update(chunk)


def _from_folder(path: Path) -> Dict[str, bytes]:
    places = sorted((path / FOLDER).glob(f"*{SUFFIX}"))[: MOST_SIGNATURES + 1]
    for place in places:
        _check_kind(path, place)
    return {place.name: _limited(place.open("rb")) for place in places}


def _from_tar(path: Path) -> Dict[str, bytes]:
    return {name: _limited(file) for name, file in _members(path) if is_signature(name)}


def _limited(file: BinaryIO) -> bytes:
    """One byte too many is enough to be refused later."""
    with file:
        return file.read(MAX_BYTES + 1)
