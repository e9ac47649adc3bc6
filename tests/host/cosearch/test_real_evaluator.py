"""A tiny seed, a small task, an emulated board and this machine: what pairs give, each once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import edgetran
import psutil
import pytest
from edgetran.progress import OnProgress, ignore
from edgetran_host.cosearch.assignment import Assignment
from edgetran_host.cosearch.evaluator import Request
from edgetran_host.cosearch.goal import Limits
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.real_boards import Boards
from edgetran_host.cosearch.real_evaluator import RealEvaluator
from edgetran_host.engine import Engine, Task
from edgetran_host.engine.local import LocalEngine
from edgetran_host.ledger import Ledger
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_protos.errors import ArchitectureError, BoardUnreachable

from tests.e2e.moods import write_moods, write_seed

pytest.importorskip("edgetran_daemon.main", reason="needs the daemon's package")
pytestmark = pytest.mark.slow

PATIENCE_S = 240.0
NANO = "jetson-nano:cpu"
INT8, FP32 = Place(NANO, "onnxruntime", "int8"), Place(NANO, "onnxruntime", "fp32")
SEED = Architecture((Layer(32, ("sa_sdp",) * 4, 8, (128,)),) * 2)
SMALL = Architecture((Layer(32, ("sa_sdp",) * 2, 8, (64,)), Layer(32, ("sa_sdp",), 8, (96,))))
OTHER = Architecture((Layer(32, ("sa_sdp",) * 3, 8, (128,)),) * 2)
KILLED = """
import json, sys
from pathlib import Path
from edgetran_host.cosearch.assignment import Assignment
from edgetran_host.cosearch.evaluator import Request
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.real_evaluator import RealEvaluator
from edgetran_host.engine.local import LocalEngine
from edgetran_host.ledger import Ledger
from edgetran_host.space.architecture import Architecture

if __name__ == "__main__":
    asked, folder, ledger, design, place = (json.loads(word) for word in sys.argv[1:])
    for name in ("targets", "runtimes", "precisions", "more_kinds"):
        asked[name] = tuple(asked[name])
    with LocalEngine(slots=1) as engine:
        evaluator = RealEvaluator(
            Assignment(**asked), Path(folder), Ledger(ledger), engine,
            on_progress=lambda event: print(event.stage, event.done, flush=True),
        )
        evaluator.evaluate(Request(Pair(Architecture.from_dict(design), Place(**place))))
"""


class Counting(Engine):
    """Notes what another engine is asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.slots, self.threads, self.quiet = engine.slots, engine.threads, engine.quiet
        self.asked: list[str] = []

    def submit(self, task: Task, on_progress: OnProgress = ignore) -> Future[Any]:
        self.asked.append(task.function.partition(":")[2])
        return self._engine.submit(task, on_progress)

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True)
class World:
    path: Path
    assignment: Assignment
    engine: Counting

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}/ledger.db"

    @property
    def folder(self) -> Path:
        return self.path / "evaluations"

    def evaluator(
        self, limits: Limits | None = None, boards: Boards | None = None, **changes: Any
    ) -> RealEvaluator:
        """As a new process would make it."""
        asked = replace(self.assignment, **changes)
        return RealEvaluator(
            asked, self.folder, Ledger(self.url), self.engine, limits, boards=boards
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("world")
    seed, data = write_seed(path / "seed"), write_moods(path / "moods", train=300, dev=40)
    assignment = Assignment(str(data), targets=("nano",), seed=str(seed), vocabulary=4000)
    with pytest.MonkeyPatch.context() as patch, LocalEngine(slots=1) as engine:
        patch.setenv("EDGETRAN_HOME", str(path / "home"))
        try:
            yield World(path, assignment, Counting(engine))
        finally:
            for ready in (path / "home").glob("boards/*/ready.json"):
                os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)


def test_each_thing_is_paid_for_once(world: World) -> None:
    evaluator = world.evaluator()
    assert evaluator.product.places == (FP32, INT8)
    assert evaluator.product.space.contains(SEED)
    first = evaluator.evaluate(Request(Pair(SMALL, INT8)))
    assert first.outcome.score is not None
    assert 0.4 < first.outcome.score <= 1.0
    assert first.training_cost > 0
    assert set(first.sources) == set(vars(first.outcome))
    assert {first.sources[name] for name in ("latency_s", "energy_j", "peak_power_w")} == {
        "modelled"
    }
    assert world.engine.asked == ["prepare", "write_bundle", "train", "score"]

    other = evaluator.evaluate(Request(Pair(SMALL, FP32)))
    assert other.training_cost == 0.0  # the weights are the same
    assert other.outcome.size_bytes > 2 * first.outcome.size_bytes
    assert world.engine.asked[4:] == ["write_bundle", "score"]

    again = world.evaluator()  # as after a restart
    assert again.evaluate(Request(Pair(SMALL, INT8))) == first
    assert again.evaluate(Request(Pair(SMALL, FP32))) == other
    assert world.engine.asked[6:] == ["prepare"]


def test_a_broken_limit_saves_the_training(world: World) -> None:
    evaluator, already = world.evaluator(Limits(latency_s=1e-9)), len(world.engine.asked)
    found = evaluator.evaluate(Request(Pair(OTHER, INT8)))
    assert found.outcome.score is None
    assert found.outcome.latency_s > 1e-9
    assert found.training_cost == 0.0
    assert "score" not in found.sources
    assert world.engine.asked[already:] == ["prepare", "write_bundle"]


def test_references_are_the_teacher(world: World) -> None:
    evaluator = world.evaluator()
    found = evaluator.references()
    assert set(found) == {INT8, FP32}
    teacher = evaluator.prepare()["teacher"]["valid"]["value"]
    assert found[FP32].score == pytest.approx(teacher, abs=0.05)  # with 100 words fewer
    already = len(world.engine.asked)
    assert world.evaluator().references() == found
    assert world.engine.asked[already:] == ["prepare"]


def test_fidelities_build_on_each_other(world: World) -> None:
    evaluator, pair = world.evaluator(), Pair(OTHER, FP32)
    costs = [
        evaluator.evaluate(Request(pair, fidelity)).training_cost
        for fidelity in ("transfer", "short", "full")
    ]
    assert costs[0] == 0.0
    assert sum(costs) == pytest.approx(1.0)
    other_seed = evaluator.evaluate(Request(pair, "full", seed=1))  # both steps at once
    assert other_seed.training_cost == pytest.approx(1.0)


def test_a_lost_board_is_asked_again_later(world: World) -> None:
    away = {"nano"}

    def connect(target: str) -> edgetran.Board:
        if target in away:
            raise BoardUnreachable(f"{target} does not answer")
        return edgetran.connect(target)

    boards = Boards(world.assignment, world.folder / "boards.json", connect=connect)
    evaluator = world.evaluator(boards=boards)  # known from before, so the search can go on
    assert evaluator.evaluate(Request(Pair(SMALL, INT8))).outcome.score is not None
    lone = Architecture(SMALL.layers[:1] * 2)
    with pytest.raises(BoardUnreachable):
        evaluator.evaluate(Request(Pair(lone, INT8), "transfer"))
    away.clear()
    assert evaluator.evaluate(Request(Pair(lone, INT8), "transfer")).outcome.score is not None


def test_a_design_of_another_space_is_refused(world: World) -> None:
    strange = Architecture((Layer(64, ("l_dft",) * 4, 16, (128,)),) * 2)
    with pytest.raises(ArchitectureError):
        world.evaluator().evaluate(Request(Pair(strange, INT8)))


def test_killed_in_a_training(world: World, tmp_path: Path) -> None:
    """Nothing is left running; the same evaluation afterwards, alike and without waiting."""
    design = Architecture((Layer(32, ("sa_sdp",) * 4, 8, (96,)),) * 2)
    words = [vars(world.assignment), str(world.folder), world.url, design.to_dict(), vars(INT8)]
    script = tmp_path / "evaluate.py"
    script.write_text(KILLED)
    process = subprocess.Popen(
        [sys.executable, script, *map(json.dumps, words)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("short training"):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)
    _, alive = psutil.wait_procs(children, PATIENCE_S)
    assert not alive
    already = len(world.engine.asked)
    found = world.evaluator().evaluate(Request(Pair(design, INT8)))
    assert found.training_cost > 0
    assert world.engine.asked[already:] == ["prepare", "train", "score"]  # its cost is known


def test_this_machine_is_measured_while_nothing_trains(world: World) -> None:
    """In a folder of its own, since other targets are another assignment's boards."""
    asked = replace(world.assignment, targets=("nano", "local"))
    with LocalEngine(slots=1) as engine:
        evaluator = RealEvaluator(asked, world.folder, Ledger(world.url), engine)
        places = [place for place in evaluator.product.places if place.board.startswith("local")]
        assert {place.precision for place in places} == {"int8", "fp32"}
        found = evaluator.evaluate(Request(Pair(SMALL, places[0])))
    assert found.sources["latency_s"] == "measured"
    assert found.outcome.score is not None
    assert found.details["cost"]["modelled"] is False
