"""Listening on a Unix socket: only where nobody else does, and only for owner and group.

gRPC removes whatever socket lies under the name, a living daemon's too, so it is asked first.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetran_protos.errors import PortInUse

NOT_FOR_OTHERS = 0o117  # the umask of a socket that its owner and its group may use
ANOTHER = "choose another name with --listen unix:PATH"
LEFT_BEHIND = (errno.ECONNREFUSED, errno.ENOENT)  # of a daemon that was killed; gRPC removes it


def check_free(path: Path) -> None:
    """Raises PortInUse."""
    if not path.parent.is_dir():
        raise PortInUse(f"cannot listen on {path}: there is no folder {path.parent}", hint=ANOTHER)
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise PortInUse(f"cannot listen on {path}: it is a file and no socket", hint=ANOTHER)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        failure = trial.connect_ex(str(path))
    if failure not in LEFT_BEHIND:
        why = os.strerror(failure) if failure else "somebody listens there"
        raise PortInUse(f"cannot listen on {path}: {why}", hint=f"stop what listens, or {ANOTHER}")


@contextmanager
def private() -> Iterator[None]:
    """Within, sockets are made for their owner and its group."""
    before = os.umask(NOT_FOR_OTHERS)
    try:
        yield
    finally:
        os.umask(before)
