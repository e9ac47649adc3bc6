"""One microphone: utterances on standard input, a decision each on standard output."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import Optional

import edgetran
from deciding import ACT, STALE_S, Decision, decide, too_late

RETRY_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--board", default="local", help="a name, or HOST:PORT")
    parser.add_argument("--model", help="its name on the board; default: the only one")
    parser.add_argument("--sure", type=float, default=0.7, help="act from this probability on")
    parser.add_argument("--then", help="program to run with INTENT and UTTERANCE")
    asked = parser.parse_args()
    with edgetran.connect(asked.board) as board:
        for line in sys.stdin:
            if heard := line.strip():
                decision = answered(board, asked.model, heard, asked.sure)
                print(decision.line(), flush=True)
                if asked.then and decision.verdict == ACT:
                    subprocess.run([asked.then, decision.intent, heard], check=False)


def answered(board: edgetran.Board, model: Optional[str], heard: str, sure: float) -> Decision:
    """Waits for a board that is away, as long as acting still makes sense."""
    said = time.monotonic()
    while True:
        try:
            (found,) = board.predict([heard], model)
            return decide(heard, found, sure)
        except (edgetran.BoardUnreachable, edgetran.BoardBusy, edgetran.ModelDown) as error:
            if time.monotonic() - said > STALE_S:
                print(f"{error} ({error.hint})", file=sys.stderr)
                return too_late(heard)
            time.sleep(RETRY_S)


if __name__ == "__main__":
    try:
        main()
    except edgetran.EdgeTranError as error:
        sys.exit(f"error: {error}\n hint: {error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
