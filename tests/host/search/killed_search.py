"""A search that kills itself at a chosen point; run by test_study.py as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from edgetran_host.search.objective import Cost
from edgetran_host.search.seeded_space import SeededSpace
from edgetran_host.search.study import SeededStudy, Trial


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(path: str, when: str, space: str) -> None:
    axes = {name: tuple(choices) for name, choices in json.loads(space).items()}
    study = SeededStudy(SeededSpace(**axes), Path(path), 0)
    if when == "asking":  # the design is in the queue, nobody has taken it yet
        study._study.ask = die
    suggested = study.suggest()
    assert suggested is not None
    number, design = suggested
    print(json.dumps(asdict(design)), flush=True)
    if when == "telling":  # the result is written, the trial is not closed yet
        study._study.tell = die
        cost = Cost(0.5, None, None, 1e6, True)
        study.update(number, Trial(design, cost, 0.5, -1.0, True), (0, 0, 0, 0))
    die()


if __name__ == "__main__":
    main(*sys.argv[1:])
