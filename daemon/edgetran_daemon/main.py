"""The command `edgetran-daemon`: options in, one line out, exit codes.

0 stopped as asked, 1 an error of its own, 2 it was asked for something impossible.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import logging
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

# gRPC writes C++ log lines about ports in use and forks; errors reach the user another way.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from edgetran_protos.errors import EdgeTranError

from edgetran_daemon.board import Board
from edgetran_daemon.describe import daemon_version
from edgetran_daemon.server import serve
from edgetran_daemon.settings import MAX_MESSAGE_BYTES, Settings, parse_listen

EXAMPLES = """\
examples:
  edgetran-daemon                              serve this machine on 127.0.0.1:50051
  edgetran-daemon --emulate nano:gpu           pretend to be a Jetson Nano's GPU
  edgetran-daemon --listen unix:/run/edgetran.sock
                                               for programs on this machine only
  edgetran-daemon --listen 0.0.0.0:50051 --insecure
                                               on a network you trust
"""
MEBI = 1 << 20
LISTEN_HELP = "HOST:PORT (port 0: any free one) or unix:PATH"
HINTS = {  # what to do when the system refuses
    errno.ENOSPC: "free some disk space, or choose another folder with --state",
    errno.EROFS: "choose a folder with --state that can be written to",
    errno.EACCES: "choose a folder with --state that you may write to",
    errno.ENOENT: "choose a folder with --state that can be made",
    errno.ENOTDIR: "choose a folder with --state, not a file",
    errno.EEXIST: "choose a folder with --state, not a file",
}


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="edgetran-daemon",
        description="Serves and measures transformer models on this board.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--version", action="version", version=f"edgetran-daemon {daemon_version()}")
    add("--listen", default="127.0.0.1:50051", metavar="ADDRESS", help=LISTEN_HELP)
    add("--insecure", action="store_true", help="allow addresses that other machines can reach")
    add("--emulate", default="", metavar="BOARD[:UNIT]", help="model a board's times and power")
    add("--state", type=Path, default=None, metavar="DIR", help="where models are kept")
    add("--threads", type=_positive(int, 256), default=None, help="a model's threads (free cores)")
    add("--ready-file", type=Path, default=None, metavar="PATH", help="written when serving")
    add(
        "--idle-exit",
        type=_positive(float),
        default=None,
        metavar="SECONDS",
        help="stop when unused",
    )
    add(
        "--max-message-mb",
        type=_positive(int, 2047),  # gRPC counts bytes in 32 bits
        default=MAX_MESSAGE_BYTES // MEBI,
        metavar="MB",
        help="largest request or answer",
    )
    add("--json", action="store_true", help="say where it serves as JSON")
    add("-v", "--verbose", action="store_true", help="log refused requests too")
    return found


def _positive(kind: type, most: float = math.inf) -> "type":
    def parse(text: str) -> object:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above zero")
        if value > most:
            raise argparse.ArgumentTypeError(f"{text} is above {most}")
        return value

    parse.__name__ = kind.__name__  # argparse names it in its message
    return parse  # type: ignore[return-value]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        asyncio.run(serve(_settings(options), _announce_json if options.json else _announce))
    except EdgeTranError as exc:
        return _complain(str(exc), exc.hint, 2)
    except OSError as exc:
        where = exc.filename or options.state or default_state()  # a failed write names no file
        return _complain(f"{exc.strerror or exc}: {where}", HINTS.get(exc.errno or 0, ""), 1)
    except KeyboardInterrupt:
        return 130  # before it served
    return 0


def _complain(message: str, hint: str, status: int) -> int:
    print(f"edgetran-daemon: {message}", file=sys.stderr)
    if hint:
        print(f"  hint: {hint}", file=sys.stderr)
    return status


def _settings(options: argparse.Namespace) -> Settings:
    host, port = parse_listen(options.listen, options.insecure)
    return Settings(
        host=host,
        port=port,
        state=options.state or default_state(),
        emulate=options.emulate,
        threads=options.threads,
        ready_file=options.ready_file,
        idle_exit_s=options.idle_exit,
        max_message_bytes=options.max_message_mb * MEBI,
    )


def default_state() -> Path:
    home = os.environ.get("EDGETRAN_HOME")
    return Path(home) / "daemon" if home else Path.home() / ".local" / "state" / "edgetran"


def _announce(board: Board, address: str) -> None:
    name = f"{board.id}:{board.unit}" if board.unit != "cpu" else board.id
    note = " (EMULATED: times, energy and power are modelled)" if board.emulated else ""
    print(f"edgetran-daemon serving {name}{note} on {address}", flush=True)


def _announce_json(board: Board, address: str) -> None:
    ready = {"address": address, "board": board.id, "emulated": board.emulated, "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
