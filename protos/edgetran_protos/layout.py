"""An OCI image layout on this machine, in a folder or in one .tar: read by name, written whole."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import List, Mapping

from edgetran_protos.errors import UsageError

UNREADABLE = (OSError, ValueError, KeyError, tarfile.TarError)  # what `Layout.read` raises


class Layout:
    """Nothing is ever unpacked: files are read by their names inside."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes:
        if self._path.is_dir():
            return (self._path / name).read_bytes()
        with tarfile.open(self._path, "r:") as tar:  # plain: nothing in it is worth squeezing
            member = tar.extractfile(name)
            if member is None:
                raise KeyError(name)
            if tar.getmember(name).size > self._path.stat().st_size:  # a sparse file unfolds
                raise tarfile.ReadError(f"{name} claims to be larger than the file it is in")
            return member.read()

    def names(self) -> List[str]:
        """Of all files inside, sorted."""
        if self._path.is_dir():
            found = [path for path in self._path.rglob("*") if path.is_file()]
            return sorted(path.relative_to(self._path).as_posix() for path in found)
        with tarfile.open(self._path, "r:") as tar:
            return sorted(member.name for member in tar if member.isfile())


def write_layout(path: Path, tree: Mapping[str, bytes]) -> None:
    """Atomically; a path that ends in .tar becomes one file, the same bytes for the same tree.

    Raises UsageError for a folder that holds something else: it would be lost.
    """
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.suffix == ".tar":
            _write_tar(partial, tree)
            os.replace(partial, path)
        else:
            _write_folder(partial, tree)
            _replace_folder(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


def _write_tar(path: Path, tree: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name in sorted(tree):
            info = tarfile.TarInfo(name)  # default owner, mode and time: reproducible
            info.size = len(tree[name])
            tar.addfile(info, io.BytesIO(tree[name]))


def _write_folder(path: Path, tree: Mapping[str, bytes]) -> None:
    for name, data in tree.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def _check_replaceable(path: Path) -> None:
    if path.suffix == ".tar" or not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / "oci-layout").exists()):
        raise UsageError(
            f"{path} is there already, and no bundle",
            hint="name another place, or a file that ends in .tar",
        )


def _replace_folder(partial: Path, path: Path) -> None:
    if not path.exists():
        os.replace(partial, path)
        return
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    os.replace(path, old)
    os.replace(partial, path)
    shutil.rmtree(old)
