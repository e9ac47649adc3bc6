"""Whom this board trusts to sign bundles: a folder that its operator, or an admin, changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from edgetran_protos.bundle import check_model_name
from edgetran_protos.errors import NotPermitted, UsageError
from edgetran_protos.signing import REVOKED, SUFFIXES, Signer, entries, read_signers

from edgetran_daemon.deployment.ledger import partial_of, write_atomically
from edgetran_daemon.security.callers import Callers

FOLDER = "signers"  # below the state, unless another is named
ROOT = 0  # a user who may do anything on the board


class TrustedSigners:
    """edgetran_protos/signing/signers.py says what the folder holds.

    callers: who calls, of a daemon without certificates; None: access.py has let through only
    admins. A caller without a certificate may do what it could do to the folder itself.
    """

    def __init__(self, folder: Path, callers: Optional[Callers]) -> None:
        self._folder = folder
        self._callers = callers

    def all(self) -> list[Signer]:
        return [signer for signer, _ in entries(self._folder)]

    def add(self, name: str, pem: bytes, peer: str) -> list[Signer]:
        """Raises UsageError, NotPermitted."""
        self._check(peer)
        check_model_name(name)
        found = [signer for signer, _ in read_signers(name, pem)]
        for known in self.all():
            if known.name == name and not known.revoked:
                raise UsageError(
                    f"{name!r} is trusted already", hint="remove it first, or choose another name"
                )
            if known.revoked and known.fingerprint in {one.fingerprint for one in found}:
                raise UsageError(
                    f"this key was revoked, as {known.name!r}",
                    hint=f"only the board's operator takes that back, in {self._folder / REVOKED}",
                )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write(self._folder / f"{name}.pem", pem)
        return found

    def remove(self, name: str, revoke: bool, peer: str) -> None:
        """Raises UsageError, NotPermitted."""
        self._check(peer)
        files = [self._folder / f"{name}{suffix}" for suffix in SUFFIXES]
        known = {one.name for one in self.all() if not one.revoked}
        if name not in known:
            raise UsageError(
                f"no signer {name!r} is trusted",
                hint=f"trusted: {', '.join(sorted(known)) or 'nobody'}",
            )
        for file in files:
            if file.is_file():
                if revoke:
                    (self._folder / REVOKED).mkdir(exist_ok=True, mode=0o700)
                    self._write(self._free_name(file), file.read_bytes())
                file.unlink()

    def _free_name(self, file: Path) -> Path:
        """A name may be revoked more than once, each time with another key."""
        place, number = self._folder / REVOKED / file.name, 1
        while place.exists() and place.read_bytes() != file.read_bytes():
            number += 1
            place = place.with_name(f"{file.stem}-{number}{file.suffix}")
        return place

    def _write(self, place: Path, data: bytes) -> None:
        partial_of(place).unlink(missing_ok=True)
        write_atomically(place, data, "trust")

    def _check(self, peer: str) -> None:
        if self._callers is None:
            return
        caller = self._callers.of(peer)
        if caller is None or caller.uid not in (ROOT, os.geteuid()):
            raise NotPermitted(
                "who calls is not known to be the board's operator",
                hint=f"serve with --tls and call as a client with the role admin, or put the file"
                f" into {self._folder} on the board",
            )
