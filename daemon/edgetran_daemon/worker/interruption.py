"""Hears, while a runtime computes, that nobody waits for the answer any longer.

The supervisor numbers the questions from 0, in the order in which it sends them, and writes the
number of one whose caller left to a pipe of its own: 8 bytes, big-endian. A thread reads it there,
for the socket is read by whoever computes. When the supervisor is gone, nobody waits for anything.
"""

import os
import struct
import threading
import time
from typing import Optional, Set

from edgetran_daemon.runtimes.base import Runtime

NUMBER = struct.Struct(">Q")
GRACE_S = 5.0  # without a supervisor, for what cannot be interrupted
STACK_BYTES = 256 << 10  # of the thread, which counts as the process's memory


class Interruption:
    """`begin` and `end` enclose each run; between them the runtime may be interrupted."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()  # so that an interruption meets the run that it is meant for
        self._runtime: Optional[Runtime] = None  # that computes
        self._number = -1  # of the question that is computed, or was last
        self._left: Set[int] = set()  # whose callers left before their turn
        threading.stack_size(STACK_BYTES)
        threading.Thread(target=self._listen, daemon=True).start()
        threading.stack_size(0)

    def begin(self, number: int, runtime: Runtime) -> bool:
        """False: nobody waits for it."""
        with self._lock:
            self._number = number
            left = number in self._left
            self._left = {later for later in self._left if later > number}
            if left:
                return False
            runtime.rearm()
            self._runtime = runtime
            return True

    def end(self) -> None:
        with self._lock:
            self._runtime = None

    def _listen(self) -> None:
        with os.fdopen(self._pipe, "rb") as pipe:
            while True:
                data = pipe.read(NUMBER.size)
                if len(data) < NUMBER.size:
                    break  # the supervisor hung up, or was killed
                self._leave(NUMBER.unpack(data)[0])

        with self._lock:
            if self._runtime is not None:
                self._runtime.interrupt()
        time.sleep(GRACE_S)  # whoever computes finds its socket closed next, and leaves
        os._exit(0)

    def _leave(self, number: int) -> None:
        with self._lock:
            if number > self._number:
                self._left.add(number)
            elif number == self._number and self._runtime is not None:
                self._runtime.interrupt()
