"""Boards that this machine was paired with: their authority, our key and certificate.

$EDGETRAN_HOME/paired/<address>/  authority.pem  client.pem  client.key
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from urllib.parse import quote

import grpc
from edgetran_protos.pairing import SERVER_NAME

from edgetran.places import home

OPTION = ("grpc.ssl_target_name_override", SERVER_NAME)  # its authority is the board's own


@dataclass(frozen=True)
class Paired:
    """What proves this machine to one board, and that board to this machine (PEM)."""

    authority: bytes
    certificate: bytes
    key: bytes

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)


def find(address: str) -> Optional[Paired]:
    """None: not paired with what serves there."""
    folder = _folder(address)
    if not (folder / "client.key").is_file():
        return None
    return Paired(*((folder / name).read_bytes() for name in FILES))


def keep(address: str, paired: Paired) -> None:
    """Whole or not at all, whenever it is broken off; only the user may read it."""
    folder = _folder(address)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True, mode=0o700)
    contents: Mapping[str, bytes] = dict(
        zip(FILES, (paired.authority, paired.certificate, paired.key))
    )
    for name, data in contents.items():
        (partial / name).touch(mode=0o600)
        (partial / name).write_bytes(data)
    old = partial.with_suffix(".old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(partial, folder)
    shutil.rmtree(old, ignore_errors=True)


FILES = ("authority.pem", "client.pem", "client.key")


def _folder(address: str) -> Path:
    return home() / "paired" / quote(address, safe="")
