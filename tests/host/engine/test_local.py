"""The local engine: the contract, stillness, Ctrl-C and a killed parent."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from edgetran_host.engine import open_engine
from edgetran_host.engine.local import LocalEngine
from edgetran_protos.errors import UsageError

from tests.contracts.engine_contract import PATIENCE_S, EngineContract, task, wait_until

SEARCH = """
import sys
from pathlib import Path
from edgetran_host.engine import Task
from edgetran_host.engine.local import LocalEngine

if __name__ == "__main__":
    waiting = Task("tests.contracts.engine_tasks:wait", {"folder": Path(sys.argv[1])}, "wait")
    with LocalEngine(slots=2) as engine:
        futures = [engine.submit(waiting) for _ in range(2)]
        [future.result() for future in futures]
"""


class TestLocal(EngineContract):
    @pytest.fixture
    def engine(self) -> Iterator[LocalEngine]:
        with LocalEngine(slots=2) as engine:
            yield engine


def test_workers_stay_for_further_tasks() -> None:
    with LocalEngine(slots=1) as engine:
        pids = {engine.run(task("count", total=1)) for _ in range(3)}
        assert pids == set(engine.pids())


def test_within_quiet_nothing_computes(tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    with LocalEngine(slots=1) as engine:
        running = engine.submit(task("tick", folder=tmp_path))
        wait_until(ticks.exists)
        (pid,) = engine.pids()
        with engine.quiet():
            wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
            size = ticks.stat().st_size
            later = engine.submit(task("add", one=1, other=2))  # waits its turn
            assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
            assert ticks.stat().st_size == size
        wait_until(lambda: ticks.stat().st_size > size)
        (tmp_path / "end").touch()
        running.result(PATIENCE_S)
        assert later.result(PATIENCE_S) == 3


def test_closed_within_quiet(tmp_path: Path) -> None:
    """What stands still ends, too."""
    engine = LocalEngine(slots=1)
    engine.submit(task("wait", folder=tmp_path))
    wait_until(lambda: list(tmp_path.glob("waits-*")))
    (pid,) = engine.pids()
    with engine.quiet():
        engine.close()
        assert not psutil.pid_exists(pid)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_search(tmp_path: Path, how: int) -> None:
    script = tmp_path / "search.py"
    script.write_text(SEARCH)
    root = Path(__file__).resolve().parents[3]
    path = [str(root), *sys.path]
    process = subprocess.Popen(
        [sys.executable, script, tmp_path],
        env={"PYTHONPATH": ":".join(path)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(list(tmp_path.glob("waits-*"))) == 2)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(how)
    assert process.wait(PATIENCE_S) != 0
    _, alive = psutil.wait_procs(children, PATIENCE_S)
    assert not alive


def test_unknown_engines_and_sizes() -> None:
    with pytest.raises(UsageError, match="'slurm' is no engine"):
        open_engine("slurm")
    with pytest.raises(UsageError, match="one worker and one thread"):
        open_engine("local", slots=0)
