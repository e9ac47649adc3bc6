"""`python -m edgetran_daemon.worker FD`: serves the socket it inherited as FD."""

import signal
import socket
import sys

from edgetran_daemon.worker.loop import Worker


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which drains
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            Worker(connection).serve()
        except (BrokenPipeError, ConnectionResetError):
            return 0  # the supervisor died while we were answering
    return 0


if __name__ == "__main__":
    sys.exit(main())
