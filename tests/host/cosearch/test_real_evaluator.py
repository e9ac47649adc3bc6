"""A tiny seed, a small task, an emulated board and this machine: what pairs give, each once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from edgetran_host.cosearch.assignment import Assignment
from edgetran_host.cosearch.evaluator import Request
from edgetran_host.cosearch.goal import Limits
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.real_evaluator import RealEvaluator
from edgetran_host.engine.local import LocalEngine
from edgetran_host.ledger import Ledger
from edgetran_host.space.architecture import Architecture, Layer

from tests.e2e.moods import write_moods, write_seed

pytest.importorskip("edgetran_daemon.main", reason="needs the daemon's package")
ROWS = 300
SMALL = Architecture((Layer(32, ("sa_sdp",) * 2, 8, (64,)), Layer(32, ("sa_sdp",), 8, (96,))))
NANO = Place("jetson-nano:gpu", "onnxruntime", "int8")


@dataclass(frozen=True)
class World:
    path: Path
    assignment: Assignment
    engine: LocalEngine

    def evaluator(self, limits: Limits | None = None, **changes: object) -> RealEvaluator:
        """Each as another process would make it."""
        asked = replace(self.assignment, **changes)  # type: ignore[arg-type]
        ledger = Ledger(f"sqlite:///{self.path}/ledger.db")
        return RealEvaluator(asked, self.path / "evaluations", ledger, self.engine, limits)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("world")
    seed, data = write_seed(path / "seed"), write_moods(path / "moods", train=ROWS, dev=40)
    assignment = Assignment(
        data=str(data), targets=("nano", "local"), seed=str(seed), vocabulary=4000
    )
    with pytest.MonkeyPatch.context() as patch, LocalEngine(slots=1) as engine:
        patch.setenv("EDGETRAN_HOME", str(path / "home"))
        try:
            yield World(path, assignment, engine)
        finally:
            for ready in (path / "home").glob("boards/*/ready.json"):
                import json

                os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)


def test_end_to_end(world: World) -> None:
    evaluator = world.evaluator()
    print(evaluator.product.places)
    for place in evaluator.product.places:
        found = evaluator.evaluate(Request(Pair(SMALL, place)))
        print(place.id, found)
    print(evaluator.references())
