"""One host at a time changes a fleet; where two have no file system in common, boards' leases
keep them apart board by board (visit.py)."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetran.lease import this_program
from edgetran_protos.errors import BoardBusy


@contextmanager
def only_host(ledger: Path) -> Iterator[None]:
    """Raises BoardBusy while another has it. The system lifts it when the process ends."""
    path = ledger.with_name(f".{ledger.name}.lock")
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            file.seek(0)
            raise BoardBusy(
                f"{file.read().strip() or 'another host'} is changing this fleet",
                hint="wait until it is done; `edgetran fleet status` shows how far it is",
            ) from exc
        file.truncate(0)
        file.write(this_program())
        file.flush()
        yield
