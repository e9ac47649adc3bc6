"""`python -m edgetran_daemon.worker FD BYTES PIPE`: serves the socket it inherited as FD.

BYTES is the most memory it may ask the system for, 0 for no limit; from PIPE it hears of questions
that nobody asks any longer.
"""

import resource
import signal
import socket
import sys

from edgetran_daemon.worker.interruption import Interruption
from edgetran_daemon.worker.loop import Worker
from edgetran_daemon.worker.wire import OUT_OF_MEMORY

ARGUMENTS = 4  # with the program's own name


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which drains
    if len(sys.argv) != ARGUMENTS:
        print("edgetran-daemon was upgraded while it ran: restart it", file=sys.stderr)
        return 1
    memory_bytes = int(sys.argv[2])
    if memory_bytes:
        # Not RLIMIT_AS: runtimes reserve far more address space than they ever use.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            Worker(connection, Interruption(int(sys.argv[3]))).serve()
        except (BrokenPipeError, ConnectionResetError):
            return 0  # the supervisor died while we were answering
        except MemoryError:
            return OUT_OF_MEMORY  # half a request has been read: it cannot be answered
    return 0


if __name__ == "__main__":
    sys.exit(main())
