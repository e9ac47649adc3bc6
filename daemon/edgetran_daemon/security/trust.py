"""Whom this board trusts with what: one file, changed by pairing, read by the daemon."""

from __future__ import annotations

import hashlib
import json
import logging
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

from edgetran_protos.bundle import MALFORMED, canonical_json
from edgetran_protos.errors import BoardError, UsageError
from edgetran_protos.pairing import ROLES
from edgetran_protos.plain import build

from edgetran_daemon.deployment.ledger import partial_of, write_atomically

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Client:
    name: str
    role: str
    since_unix_s: float


class Trust:
    """Fingerprint of a certificate -> client; one that is not in it counts for nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "trust.json"
        self._seen: Optional[tuple[int, int]] = None  # of the file that was read last
        self._clients: Mapping[str, Client] = {}

    def client(self, certificate: str) -> Optional[Client]:
        """certificate: PEM. The file may have changed since the last call."""
        try:
            return self.clients().get(fingerprint(certificate))
        except BoardError as exc:
            log.error("nobody is trusted: %s", exc)
            return None

    def clients(self) -> Mapping[str, Client]:
        """Raises BoardError when the file is none of ours."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return {}
        if self._seen != (stat.st_mtime_ns, stat.st_ino):
            self._clients = self._read()
            self._seen = (stat.st_mtime_ns, stat.st_ino)
        return self._clients

    def add(self, certificate: str, client: Client) -> None:
        """A client of the same name is replaced."""
        others = {key: one for key, one in self.clients().items() if one.name != client.name}
        self._write({**others, fingerprint(certificate): client})

    def remove(self, name: str) -> None:
        """Raises UsageError."""
        rest = {key: one for key, one in self.clients().items() if one.name != name}
        if len(rest) == len(self.clients()):
            known = ", ".join(sorted(one.name for one in rest.values())) or "nobody"
            raise UsageError(f"no client {name!r} is paired", hint=f"paired: {known}")
        self._write(rest)

    def _read(self) -> Mapping[str, Client]:
        try:
            raw = json.loads(self._path.read_bytes())["clients"]
            found = {str(key): build(Client, value, "client") for key, value in raw.items()}
        except MALFORMED as exc:
            raise BoardError(
                f"{self._path} cannot be read: {exc}", hint="remove it and pair the clients again"
            ) from exc
        return {key: one for key, one in found.items() if one.role in ROLES}

    def _write(self, clients: Mapping[str, Client]) -> None:
        partial_of(self._path).unlink(missing_ok=True)
        raw = {"schema": 1, "clients": {key: asdict(one) for key, one in clients.items()}}
        write_atomically(self._path, canonical_json(raw), "trust")


def fingerprint(certificate: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
