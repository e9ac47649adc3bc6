"""Every board file keeps to one contract: positive, ordered, sourced, findable."""

from __future__ import annotations

import math
from pathlib import Path

import edgetran_devices
import pytest
from edgetran_devices import UnitModel, UnknownBoard, load_board, names, resolve
from edgetran_devices.catalogue import read_board

UNITS = [
    pytest.param(unit, id=f"{name}-{unit.name}")
    for name in names()
    for unit in load_board(name).units.values()
]


def test_the_catalogue_has_the_boards_of_the_published_study_and_this_machine() -> None:
    assert set(names()) >= {"rpi4", "jetson-nano", "ncs2", "m1", "a100", "local"}


@pytest.mark.parametrize("name", names())
def test_a_board_is_complete(name: str) -> None:
    spec = load_board(name)
    assert spec.id == name
    assert spec.title
    assert spec.default_unit in spec.unit_names
    assert spec.cpu_count >= 0
    assert spec.memory_bytes > 0 or name == "local"


def test_no_two_boards_share_a_name() -> None:
    called = [n for name in names() for n in (name, *load_board(name).aliases)]
    assert len(called) == len(set(called))
    assert not any(":" in n or n != n.lower() for n in called)


@pytest.mark.parametrize("unit", UNITS)
def test_figures_are_positive_and_finite(unit: UnitModel) -> None:
    rates = (unit.fp32_flops, unit.int8_ops, unit.bandwidth_bytes_s)
    costs = (unit.launch_s, unit.overhead_s, unit.idle_w, unit.active_w, unit.peak_w)
    assert all(math.isfinite(figure) and figure > 0 for figure in (*rates, *costs))


@pytest.mark.parametrize("unit", UNITS)
def test_figures_are_ordered(unit: UnitModel) -> None:
    assert unit.idle_w <= unit.active_w <= unit.peak_w
    assert 1 <= unit.p95_ratio <= unit.p99_ratio
    assert 0.3 <= unit.relative_error <= 0.5  # a datasheet model is not better than that


@pytest.mark.parametrize("unit", UNITS)
def test_figures_are_sourced(unit: UnitModel) -> None:
    assert unit.runtimes
    assert "Rate" in unit.source
    assert "Power: " in unit.source
    assert "ProTran data" in unit.source
    assert "assumption" in unit.source


def test_local_is_measured_and_has_no_model() -> None:
    assert not load_board("local").units
    assert resolve("local")[1] == "cpu"


@pytest.mark.parametrize(
    ("target", "board", "unit"),
    [
        ("nano", "jetson-nano", "cpu"),
        ("nano:gpu", "jetson-nano", "gpu"),
        ("Jetson-Nano:CPU", "jetson-nano", "cpu"),
        ("ncs2", "ncs2", "npu"),
        ("a100", "a100", "gpu"),
        ("local:cpu", "local", "cpu"),
    ],
)
def test_resolve(target: str, board: str, unit: str) -> None:
    spec, found = resolve(target)
    assert (spec.id, found) == (board, unit)


@pytest.mark.parametrize("target", ["", "nano:", "nano:npu", "local:gpu", "toaster", "nano:gpu:x"])
def test_what_is_unknown_is_a_key_error_that_lists_what_is_known(target: str) -> None:
    with pytest.raises(UnknownBoard) as caught:
        resolve(target)
    assert isinstance(caught.value, KeyError)
    assert caught.value.known
    assert repr(target) in str(caught.value)


def test_a_typing_error_is_guessed() -> None:
    with pytest.raises(UnknownBoard) as caught:
        load_board("jetson-nono")
    assert caught.value.closest == "jetson-nano"
    assert "jetson-nano" in caught.value.hint


def test_a_board_file_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('title = "x"\nspeed = 3\n')
    with pytest.raises(TypeError):
        read_board(path)


def test_public_names_are_pinned() -> None:
    pinned = (
        "RESIDENT BoardSpec Calibration Draw NotCovered Prediction UnitModel UnknownBoard"
        " figures load_board names own_folder own_names predict predict_published resolve"
    )
    assert edgetran_devices.__all__ == pinned.split()


def test_the_page_on_boards_shows_the_figures_of_the_files(root: Path) -> None:
    page = (root / "docs" / "boards.md").read_text(encoding="utf-8")
    for name in names():
        for unit in load_board(name).units.values():
            assert f"| `{name}:{unit.name}` | {table_row(unit)} |" in page


def table_row(unit: UnitModel) -> str:
    figures = (unit.fp32_flops / 1e9, unit.int8_ops / 1e9, unit.bandwidth_bytes_s / 1e9)
    costs = (unit.launch_s * 1e6, unit.overhead_s * 1e3)
    powers = " / ".join(f"{power:g}" for power in (unit.idle_w, unit.active_w, unit.peak_w))
    cells = [*(f"{number:g}" for number in (*figures, *costs)), powers]
    return " | ".join([*cells, f"±{unit.relative_error * 100:.0f} %"])
