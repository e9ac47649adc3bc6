"""A worker process of the local engine: one task after another, from and to a pipe."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from edgetran.progress import OnProgress
from edgetran_protos.errors import EdgeTranError

from edgetran_host.engine.engine import Task

PR_SET_PDEATHSIG = 1  # Linux: a signal when the parent is gone
PROGRESS, DONE, FAILED = "progress", "done", "failed"


class Remote(Exception):
    """The traceback of an error in another process, as text."""


def serve(connection: Connection, parent: int) -> None:
    """Until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(parent)
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        answer = answer_of(task, lambda event: connection.send((PROGRESS, event)))
        try:
            connection.send(answer)
        except OSError:
            return


def die_with(parent: int) -> None:
    """A killed parent leaves no worker behind, not even one that stands still."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """Where the system sends no signal."""
    while os.getppid() == parent:
        threading.Event().wait(1.0)
    os._exit(1)


def answer_of(task: Task, on_progress: OnProgress) -> tuple[str, Any]:
    """DONE and the result, or FAILED with the error and its traceback."""
    try:
        return DONE, task.run(on_progress)
    except Exception as error:
        return FAILED, (portable(error), traceback.format_exc())


def portable(error: Exception) -> Exception:
    """The error itself where it can travel, else its words."""
    try:
        found = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its pickling does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error if type(found) is type(error) else RuntimeError(str(error))


def rebuilt(error: Exception, text: str) -> Exception:
    """Here, as it was raised there; ours explain themselves, others bring their traceback."""
    if not isinstance(error, EdgeTranError):
        error.__cause__ = Remote(f"\n{text}")
    return error
