"""A job asks for what is possible before it makes anything."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from edgetran.results import BoardInfo, RuntimeInfo
from edgetran_host.export.compatibility import CELLS
from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.job.running import (
    RUNTIME,
    check_runtime,
    check_senses,
    finished_with_less,
    run_name,
    taken_up,
)
from edgetran_host.search.seeded_space import PRECISIONS
from edgetran_protos.errors import BudgetError, UsageError


def board(*runtimes: RuntimeInfo) -> BoardInfo:
    return BoardInfo("pi", "Pi", "cpu", False, "0", "", 4, 1, 1, "linux", runtimes, ())


def test_a_board_without_the_runtime_of_the_designs_is_refused() -> None:
    check_runtime(board(RuntimeInfo(RUNTIME, "1.32.0", "")))
    for runtimes in ((), (RuntimeInfo(RUNTIME, "", "onnxruntime is not installed"),)):
        with pytest.raises(UsageError, match="cannot run") as caught:
            check_runtime(board(*runtimes))
        assert RUNTIME in caught.value.hint


@pytest.mark.parametrize("limits", [(0.3, None), (None, 5.0)])
def test_a_limit_that_no_sensor_can_watch_is_refused(
    limits: tuple[float | None, float | None],
) -> None:
    """Before the seed is trained, which may take hours."""
    without = board(RuntimeInfo(RUNTIME, "1.32.0", ""))
    check_senses(without, None, None)
    check_senses(dataclasses.replace(without, emulated=True), *limits)
    with pytest.raises(BudgetError, match="no power sensor"):
        check_senses(without, *limits)


def test_the_search_proposes_only_pairs_of_the_table() -> None:
    assert {(RUNTIME, precision) for precision in PRECISIONS} <= set(CELLS)


STANDARD = JobConfig(data="intents", seed="minilm", target="nano", effort="standard")
THOROUGH = dataclasses.replace(STANDARD, effort="thorough")


def test_more_effort_takes_a_run_up_as_it_began(tmp_path: Path) -> None:
    assert taken_up(THOROUGH, tmp_path / "none") == THOROUGH
    RunDirectory.create(tmp_path, STANDARD)
    assert taken_up(THOROUGH, tmp_path) == STANDARD
    assert taken_up(STANDARD, tmp_path) == STANDARD


@pytest.mark.parametrize("changed", [{"effort": "quick"}, {"target": "rpi4"}, {"random_seed": 1}])
def test_less_effort_or_another_request_takes_nothing_up(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    RunDirectory.create(tmp_path, STANDARD)
    asked = dataclasses.replace(THOROUGH, **changed)  # type: ignore[arg-type]
    assert taken_up(asked, tmp_path) == asked


def test_a_finished_run_of_less_effort_is_found_until_there_is_one_of_its_own(
    tmp_path: Path,
) -> None:
    path = tmp_path / run_name(STANDARD)
    run = RunDirectory.create(path, STANDARD)
    assert finished_with_less(THOROUGH, tmp_path) is None
    run.write_result({"rows": []})
    assert finished_with_less(THOROUGH, tmp_path) == path
    assert finished_with_less(STANDARD, tmp_path) is None
    RunDirectory.create(tmp_path / run_name(THOROUGH), THOROUGH)
    assert finished_with_less(THOROUGH, tmp_path) is None
