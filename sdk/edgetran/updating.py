"""A bundle onto the board that this runs on, for programs that update boards their own way.

    python -m edgetran.updating ADDRESS install BUNDLE NOTE [--model NAME] [--variant NAME]
    python -m edgetran.updating ADDRESS check NOTE
    python -m edgetran.updating ADDRESS take-back NOTE

`install` writes into the file NOTE what served before, ahead of any change, and waits until the
board's own watch ends; `check` fails unless the bundle still serves; `take-back` brings back what
served before, as often as it is asked. Exit status 0: done; 1: not, with the reason on stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import EdgeTranError, UsageError

from edgetran.addresses import check_address
from edgetran.board import Board
from edgetran.errors import BoardError
from edgetran.places import write_json

HOLDING = ("serving", "unloaded")


@dataclass(frozen=True)
class Note:
    """What an update is about."""

    model: str
    digest: str  # of the bundle that it brings
    before: str  # that served under the name; empty: nothing did

    @staticmethod
    def read(path: Path) -> Note:
        """Raises UsageError."""
        try:
            return Note(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as exc:
            raise UsageError(
                f"{path} is no note of an update: {exc}", hint="install first"
            ) from exc


def install(board: Board, path: Path, note: Path, model: str, variant: str) -> None:
    """Raises EdgeTranError; what served before serves then, or `take_back` brings it back."""
    bundle = Bundle.open(path)
    model = model or bundle.card.name
    if not note.exists():  # else an install that was cut off, by a power cut say: it goes on
        write_json(note, asdict(Note(model, bundle.digest, serving(board, model))))
    if serving(board, model) != bundle.digest:
        board.deploy(bundle, model=model, variant=variant or None, follow=True)


def check(board: Board, note: Note) -> None:
    """Raises BoardError unless the bundle serves."""
    found = serving(board, note.model)
    if found != note.digest:
        raise BoardError(
            f"{found or 'nothing'} serves as {note.model!r}, not {note.digest}",
            hint="the history of the board's deployments says why",
        )


def take_back(board: Board, note: Note) -> None:
    """Only what this update brought: whoever deployed after it is left alone."""
    if note.before == note.digest or serving(board, note.model) != note.digest:
        return
    if note.before:
        board.rollback(note.model, "the update was taken back")
    else:
        board.remove(note.model)


def serving(board: Board, model: str) -> str:
    """The digest under the name; empty: nothing."""
    for entry in board.deployments():
        if entry.model == model and entry.state in HOLDING:
            return entry.bundle_digest
    return ""


def main(words: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m edgetran.updating", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("address")
    verbs = parser.add_subparsers(dest="verb", required=True)
    installing = verbs.add_parser("install")
    installing.add_argument("bundle", type=Path)
    installing.add_argument("--model", default="")
    installing.add_argument("--variant", default="")
    for verb in (installing, verbs.add_parser("check"), verbs.add_parser("take-back")):
        verb.add_argument("note", type=Path)
    given = parser.parse_args(words)
    try:
        with Board(check_address(given.address)) as board:
            if given.verb == "install":
                install(board, given.bundle, given.note, given.model, given.variant)
            elif given.verb == "check":
                check(board, Note.read(given.note))
            elif given.note.exists():  # else nothing was begun
                take_back(board, Note.read(given.note))
    except EdgeTranError as exc:
        hint = f"\n hint: {exc.hint}" if exc.hint else ""
        print(f"error: {exc}{hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
