"""What every engine does with tasks, those that fail and those that die included."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import psutil
import pytest
from edgetran.progress import Progress
from edgetran_host.engine import Engine, Task, WorkerDied
from edgetran_protos.errors import DataError

PATIENCE_S = 120.0
TASKS = "tests.contracts.engine_tasks"


def task(function: str, **arguments: Any) -> Task:
    return Task(f"{TASKS}:{function}", arguments, function)


def wait_until(true: Any) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.02)


class EngineContract:
    @pytest.fixture
    def engine(self) -> Engine:
        """With two slots."""
        raise NotImplementedError

    def test_answers_and_errors_come_back(self, engine: Engine) -> None:
        futures = [engine.submit(task("add", one=i, other=1)) for i in range(6)]
        assert [future.result(PATIENCE_S) for future in futures] == [1, 2, 3, 4, 5, 6]
        with pytest.raises(DataError, match="the loss is no number") as diverged:
            engine.run(task("diverge"))
        assert diverged.value.hint == "lower the learning rate"
        with pytest.raises(ZeroDivisionError) as failed:
            engine.run(task("divide", by=0))
        assert "engine_tasks.py" in str(failed.value.__cause__)  # where it happened
        assert engine.run(task("divide", by=2)) == 0.5

    def test_progress_comes_back_in_order(self, engine: Engine) -> None:
        events = list[Progress]()
        engine.run(task("count", total=5), events.append)
        wait_until(lambda: len(events) == 5)
        assert events == [Progress("counting", done, 5) for done in range(5)]

    def test_a_dead_worker_costs_its_task_one_try(self, engine: Engine, tmp_path: Path) -> None:
        assert engine.run(task("die", folder=tmp_path, times=1)) == 2
        assert engine.run(task("add", one=1, other=1)) == 2

    @pytest.mark.slow
    def test_a_task_that_always_dies_says_why(self, engine: Engine, tmp_path: Path) -> None:
        other = engine.submit(task("count", total=1))
        with pytest.raises(WorkerDied, match="die: its process died 2 times") as died:
            engine.run(task("die", folder=tmp_path, times=99))
        assert died.value.hint
        assert len(list(tmp_path.glob("try-*"))) == 2
        assert other.result(PATIENCE_S)

    def test_closing_leaves_no_process(self, engine: Engine, tmp_path: Path) -> None:
        running = [engine.submit(task("wait", folder=tmp_path)) for _ in range(2)]
        waiting = engine.submit(task("add", one=1, other=1))
        wait_until(lambda: len(list(tmp_path.glob("waits-*"))) == 2)
        pids = [int(path.name.partition("-")[2]) for path in tmp_path.glob("waits-*")]
        closing = threading.Thread(target=engine.close)
        closing.start()
        for future in (*running, waiting):
            with pytest.raises(CancelledError):
                future.result(PATIENCE_S)
        closing.join(PATIENCE_S)
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
        with pytest.raises(CancelledError):
            engine.submit(task("add", one=1, other=1))
