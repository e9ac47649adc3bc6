"""The command `edgetran-daemon`: options in, one line out, exit codes.

0 stopped as asked, 1 an error of its own or a check that found something missing,
2 it was asked for something impossible.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Optional

# gRPC writes C++ log lines about ports in use and forks; errors reach the user another way.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from edgetran_protos.errors import EdgeTranError

from edgetran_daemon.board.board import Board
from edgetran_daemon.deployment.rules import Rules, WatchRule
from edgetran_daemon.logs import set_up
from edgetran_daemon.security.certificates import Certificates
from edgetran_daemon.security.pairing import FOLDER, pair
from edgetran_daemon.sensors.places import parse_places
from edgetran_daemon.server import serve
from edgetran_daemon.serving.serving_rules import ServingRule
from edgetran_daemon.settings.checking import findings, serves
from edgetran_daemon.settings.configuration import default_state, resolve, written
from edgetran_daemon.settings.installing import install
from edgetran_daemon.settings.options import parse
from edgetran_daemon.settings.settings import Settings, is_loopback, parse_listen, parse_metrics

MEBI = 1 << 20
HINTS = {  # what to do when the system refuses
    errno.ENOSPC: "free some disk space, or choose another folder with --state",
    errno.EROFS: "choose a folder with --state that can be written to",
    errno.EACCES: "choose a folder with --state that you may write to",
    errno.ENOENT: "choose a folder with --state that can be made",
    errno.ENOTDIR: "choose a folder with --state, not a file",
    errno.EEXIST: "choose a folder with --state, not a file",
}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    state = default_state()
    try:
        if given[:1] == ["install"]:
            install(given[1:])
            return 0
        if given[:1] == ["pair"]:
            return pair(given[1:])
        asked = parse(given)
        if asked.print_config:
            print(written({}), end="")
            return 0
        values = resolve(asked.told, os.environ, asked.config)
        settings = _settings(values)
        state = settings.state
        if asked.check:
            return _check(settings, asked.json)
        set_up(values["log_format"], values["log_level"])
        asyncio.run(serve(settings, _announce_json if asked.json else _announce))
    except EdgeTranError as exc:
        return _complain(str(exc), exc.hint, 2)
    except OSError as exc:
        where = exc.filename or state  # a failed write names no file
        return _complain(f"{exc.strerror or exc}: {where}", HINTS.get(exc.errno or 0, ""), 1)
    except KeyboardInterrupt:
        return 130  # before it served
    return 0


def _complain(message: str, hint: str, status: int) -> int:
    print(f"edgetran-daemon: {message}", file=sys.stderr)
    if hint:
        print(f"  hint: {hint}", file=sys.stderr)
    return status


def _settings(values: Mapping[str, Any]) -> Settings:
    state = values["state"] or default_state()
    keys = Certificates(state / FOLDER)
    host, port = parse_listen(values["listen"], values["insecure"] or keys.complete)
    memory_mb, limit_mb = values["worker_memory_mb"], values["store_limit_mb"]
    memory_bytes = memory_mb * MEBI if memory_mb else None
    return Settings(
        host=host,
        port=port,
        state=state,
        keys=keys.folder
        if values["tls"] or not (values["insecure"] or is_loopback(host))
        else None,
        emulate=values["emulate"],
        calibration=values["calibration"],
        calibration_seed=values["calibration_seed"],
        threads=values["threads"],
        ready_file=values["ready_file"],
        idle_exit_s=values["idle_exit_s"],
        max_message_bytes=values["max_message_mb"] * MEBI,
        store_limit_bytes=None if limit_mb is None else limit_mb * MEBI,
        metrics=parse_metrics(values["metrics_address"], values["insecure"]),
        signers=values["signers"],
        require_signature=values["require_signature"],
        shared_memory=values["shared_memory"] == "local",
        sensors=parse_places(values),
        pythons=values["worker_python"],
        rules=Rules(
            watch=WatchRule(seconds=values["watch_s"]),
            strict_order=values["anti_rollback"],
            max_models=values["max_models"],
            serving=ServingRule(values["queue_limit"], memory_bytes, values["batching"]),
        ),
    )


def _check(settings: Settings, as_json: bool) -> int:
    """0 when a daemon would serve, 1 when something is missing for that."""
    found = list(findings(settings))
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    for finding in [] if as_json else found:
        print(f"{finding.state:<8}{finding.part:<20}{finding.detail}")
        if finding.hint:
            print(f"{'':<28}hint: {finding.hint}")
    return 0 if serves(found) else 1


def _announce(board: Board, address: str) -> None:
    name = f"{board.id}:{board.unit}" if board.unit != "cpu" else board.id
    note = f" (EMULATED, {board.calibration}: times, energy and power are modelled)"
    note = note if board.emulated else ""
    print(f"edgetran-daemon serving {name}{note} on {address}", flush=True)


def _announce_json(board: Board, address: str) -> None:
    ready = {
        "address": address,
        "board": board.id,
        "emulated": board.emulated,
        "calibration": board.calibration,
        "pid": os.getpid(),
    }
    print(json.dumps(ready), flush=True)
