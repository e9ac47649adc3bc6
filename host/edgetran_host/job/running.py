"""Opens a run, gives it its boards, runs the job, and finds runs again."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import edgetran
import psutil
from edgetran.progress import OnProgress, ignore
from edgetran.results import BoardInfo
from edgetran_protos.bundle import check_model_name
from edgetran_protos.errors import BudgetError, UsageError

from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory

RUNS = Path("runs")
RUNTIME = "onnxruntime"  # that the search exports for
LOAD_SAMPLE_S = 0.3  # long enough to see a busy neighbour, short enough not to be noticed


def run_job(
    config: JobConfig,
    path: Path | None = None,
    *,
    threads: int | None = None,
    allow_older: bool = False,
    on_progress: OnProgress = ignore,
) -> dict[str, Any]:
    """Runs or continues the deploy job of `config`; returns the final figures.

    allow_older: the board may have committed a later run's bundle under the name.
    """
    from edgetran_host.job.deploying import deploy_job
    from edgetran_host.job.report import write_report
    from edgetran_host.job.workbench import Workbench
    from edgetran_host.models.seeds import load_seed
    from edgetran_host.search.objective import cost_weight
    from edgetran_host.tasks import load_task
    from edgetran_host.training.recipes import effort

    # Before anything is made: the request must be possible.
    if config.model:
        check_model_name(config.model)
    cost_weight(config.prefer)
    rows = config.train_rows or effort(config.effort).distillation_rows
    task, seed = load_task(config.data, limit=rows), load_seed(config.seed)
    count = threads or free_cores()
    with (
        edgetran.connect(config.target, threads=count) as board,
        edgetran.connect("local", threads=count) as reference,
    ):
        found = board.describe()
        check_runtime(found)
        check_senses(found, config.budget.max_energy_j, config.budget.max_power_w)
        check_takes_unsigned(board)
        run = RunDirectory.create(path or RUNS / run_name(config), config)
        with run.locked():
            work = Workbench(
                config, task, seed, run, count, on_progress, board, reference, allow_older
            )
            result = deploy_job(work)
            write_report(run, result)
    return result


def check_runtime(board: BoardInfo) -> None:
    """Every design is a graph of one runtime: a board without it could measure none."""
    missing = {r.name: r.unavailable for r in board.runtimes}.get(RUNTIME, "it is not known there")
    if missing:
        raise UsageError(
            f"{board.board} cannot run the designs of the search: {missing}",
            hint=f"pip install 'edgetran-daemon[{RUNTIME}]' on the board",
        )


def check_senses(
    board: BoardInfo, max_energy_j: float | None, max_peak_power_w: float | None
) -> None:
    """A limit on what no sensor gives cannot be kept: better said before the seed is trained.

    Raises BudgetError. An emulated board gives what its model does.
    """
    limits = {"energy": max_energy_j, "peak power": max_peak_power_w}
    asked = [name for name, limit in limits.items() if limit is not None]
    if asked and not board.emulated and all(sensor.unavailable for sensor in board.sensors):
        raise BudgetError(
            f"{board.board} has no power sensor, so a limit on {asked[0]} cannot be kept",
            hint="leave that limit out; `edgetran device info` says what each sensor lacks",
        )


def check_takes_unsigned(board: edgetran.Board) -> None:
    """What a search tries nobody signs, and a board that asks for signatures measures none of it.

    Raises UsageError.
    """
    if board.signers().required:
        raise UsageError(
            f"{board.address} takes only signed bundles, and a search tries what nobody signed",
            hint="search on another board, or an emulated one; then `edgetran bundle sign` the"
            " run's bundle.tar and `edgetran deploy --bundle` it",
        )


def taken_up(config: JobConfig, path: Path) -> JobConfig:
    """What the run at `path` was asked for, if `config` asks for more effort and no more than that.

    Its seed and its search stay as they are, and its refinement may go on; else `config`.
    """
    run = RunDirectory(path)
    if not (path / "config.json").exists():
        return config
    begun = run.config()
    return begun if begun in lesser(config) else config


def finished_with_less(config: JobConfig, folder: Path = RUNS) -> Path | None:
    """A finished run that `config` with more effort could take up, if it has none of its own."""
    if (folder / run_name(config) / "config.json").exists():
        return None
    paths = [folder / run_name(one) for one in lesser(config)]
    return next((path for path in paths if RunDirectory(path).result() is not None), None)


def lesser(config: JobConfig) -> list[JobConfig]:
    """The same request with every smaller effort, greatest first."""
    from edgetran_host.training.recipes import EFFORTS

    efforts = list(EFFORTS)
    smaller = efforts[: efforts.index(config.effort)]
    return [dataclasses.replace(config, effort=effort) for effort in reversed(smaller)]


def run_name(config: JobConfig) -> str:
    """<task>-<target>-<id>, safe as a folder name."""
    task = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(config.data).name).strip("-").lower() or "task"
    target = re.sub(r"[^A-Za-z0-9._-]+", "-", config.target)
    return f"{task}-{target}-{config.identity()}"


def free_cores() -> int:
    """Cores that are idle now, at least one: two threads on busy cores collapse tenfold."""
    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else 0
    cores = cores or psutil.cpu_count() or 1
    busy = psutil.cpu_percent(interval=LOAD_SAMPLE_S) / 100
    return max(1, round(cores * (1 - busy)))


def find_runs(folder: Path) -> list[dict[str, Any]]:
    """Every run below `folder`, oldest first: name, request, finished stages.

    What cannot be read has no request; its state says why.
    """
    configs = sorted(folder.glob("*/config.json"), key=lambda file: file.stat().st_mtime)
    return [_found(config.parent) for config in configs]


def _found(path: Path) -> dict[str, Any]:
    try:
        return described(path)
    except UsageError as error:
        return {"name": path.name, "path": str(path), "finished": False, "state": str(error)}


def described(path: Path) -> dict[str, Any]:
    """One run: its request and how far it came. Raises UsageError when it cannot be read."""
    run = RunDirectory(path)
    return {
        "name": run.path.name,
        "path": str(run.path),
        "config": run.config().to_json(),
        "stages": sorted(file.stem for file in (run.path / "stages").glob("*.json")),
        "finished": run.result() is not None,
    }


def finished_result(name: str | None, folder: Path) -> dict[str, Any]:
    """The figures of one run, where it lies now. Raises UsageError when there is none."""
    run = finished_run(name, folder)
    return {**(run.result() or {}), "run": str(run.path)}


def finished_run(name: str | None, folder: Path) -> RunDirectory:
    """By name or path; None: the newest. Raises UsageError when it is not there or not finished."""
    if name is None:
        done = [run for run in find_runs(folder) if run["finished"]]
        if not done:
            raise UsageError(f"no finished run in {folder}", hint="start with `edgetran deploy`")
        path = Path(done[-1]["path"])
    else:
        path = Path(name) if (Path(name) / "config.json").exists() else folder / name
    if not (path / "config.json").exists():
        raise UsageError(f"no run at {path}", hint="`edgetran runs list` names them")
    run = RunDirectory(path)
    run.config()  # raises for what is no run, finished or not
    if run.result() is None:
        raise UsageError(f"{path} is not finished", hint="give the same `edgetran deploy` again")
    return run
