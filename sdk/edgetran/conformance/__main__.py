"""The command `python -m edgetran.conformance`: one line a check, exit codes.

0 nothing failed, 1 something did, 2 there is no server or no model to check.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Optional

import grpc

from edgetran.conformance import core, extensions, sharing
from edgetran.conformance.outcome import (
    FAILED,
    NOT_OFFERED,
    PASSED,
    Deviation,
    NotOffered,
    Outcome,
)
from edgetran.conformance.server import Server, details, status

UNREACHED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
Check = Callable[[Server], None]
EXAMPLES = """\
examples:
  python -m edgetran.conformance 127.0.0.1:50051
  python -m edgetran.conformance unix:/run/edgetran.sock --model intents --disturb
"""


def outcomes(server: Server, disturb: bool = False) -> Iterator[Outcome]:
    checks = [*core.CHECKS, *extensions.CHECKS, *sharing.CHECKS]
    checks += extensions.DISTURBING if disturb else ()
    for check in checks:
        yield outcome(check, server)


def outcome(check: Check, server: Server) -> Outcome:
    name = check.__name__.replace("_", " ")
    try:
        check(server)
    except NotOffered as exc:
        return Outcome(name, NOT_OFFERED, str(exc))
    except Deviation as exc:
        return Outcome(name, FAILED, str(exc))
    except grpc.RpcError as exc:
        return Outcome(name, FAILED, f"{status(exc)}: {details(exc)}")
    return Outcome(name, PASSED, "")


def first_model(address: str) -> str:
    """The first that is ready by the repository's index; empty when there is none.

    Raises grpc.RpcError when it cannot be asked.
    """
    server = Server(address, "")
    try:
        index = server.optional("RepositoryIndex", ready=True)
    except NotOffered:
        return ""
    finally:
        server.close()
    return next((entry.name for entry in index.models if entry.state == extensions.READY), "")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        model = options.model or first_model(options.address)
    except grpc.RpcError as exc:
        if status(exc) in UNREACHED:
            return _complain(f"cannot reach {options.address}", "is the server running?")
        return _complain(
            f"its models cannot be listed: {status(exc)}: {details(exc)}",
            "name one that is ready with --model NAME",
        )
    if not model:
        return _complain("no model to check", "name one that is ready with --model NAME")
    server = Server(options.address, model, options.version, options.seed)
    try:
        server.call("ServerLive")
    except grpc.RpcError as exc:
        if status(exc) in UNREACHED:
            return _complain(f"cannot reach {options.address}", "is the server running?")
    found = []
    for one in outcomes(server, options.disturb):
        found.append(one)
        if not options.json:
            print(f"{one.verdict:<11} {one.check}{': ' if one.detail else ''}{one.detail}")
    server.close()
    failed = sum(one.verdict == FAILED for one in found)
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        offered = sum(one.verdict != NOT_OFFERED for one in found)
        print(f"{model} at {options.address}: {offered - failed} of {offered} checks passed")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m edgetran.conformance",
        description="Checks a server of the Open Inference Protocol v2 from outside.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("address", help="HOST:PORT or unix:PATH of any gRPC server of the protocol")
    add("--model", default="", help="a model that is ready there (the first of its index)")
    add("--version", default="", help="that model's version (the server's choice)")
    add("--disturb", action="store_true", help="also unload the model and load it again")
    add("--seed", type=int, default=0, help="of the tensors' values")
    add("--json", action="store_true", help="the outcomes as JSON")
    return found


def _complain(message: str, hint: str) -> int:
    print(f"{message}\n  hint: {hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
