"""The published calibrations: covered, sourced, seeded, and honest about what they know."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from edgetran_devices import (
    RESIDENT,
    Calibration,
    Draw,
    NotCovered,
    load_board,
    names,
    predict_published,
)
from edgetran_devices.calibration import PUBLISHED

PROTRAN = "protran-2022"
SMALL: dict[str, Any] = {"l": 1, "o": [["sa_sdp_64"] * 2], "h": [128], "f": [[512]]}
UNITS = [
    pytest.param(unit, id=f"{name}-{unit.name}")
    for name in names()
    for unit in load_board(name).units.values()
]
CALIBRATIONS = [
    pytest.param(calibration, id=f"{name}-{unit.name}-{calibration.name}")
    for name in names()
    for unit in load_board(name).units.values()
    for calibration in unit.calibrations.values()
]
PI = load_board("rpi4").units["cpu"].calibrations[PROTRAN]
M1 = load_board("m1").units["cpu"].calibrations[PROTRAN]


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_has_both_calibrations(unit: Any) -> None:
    assert unit.calibration_names[:2] == (RESIDENT, PROTRAN)


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_a_calibration_is_sourced_and_positive(calibration: Calibration) -> None:
    assert (PUBLISHED / calibration.costs).is_file()
    assert "ProTran data" in calibration.source
    assert "life of a process" in calibration.source
    assert calibration.confidence in ("high", "low")
    assert calibration.session_length > 0
    figures = (*calibration.error, *calibration.scatter, *calibration.scale)
    assert all(math.isfinite(figure) and figure > 0 for figure in figures)
    assert calibration.session_scatter >= 0


def test_boards_with_few_rows_say_so() -> None:
    low = {
        f"{name}:{unit.name}"
        for name in names()
        for unit in load_board(name).units.values()
        if unit.calibrations[PROTRAN].confidence == "low"
    }
    assert low == {"ncs2:npu", "jetson-nano:gpu"}
    assert all(
        "Low confidence" in load_board(board).units[unit].calibrations[PROTRAN].source
        for board, unit in (target.split(":") for target in low)
    )


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_a_whole_process_costs_more_than_an_inference(calibration: Calibration) -> None:
    found = predict_published(calibration, SMALL)
    assert found.energy_j is not None
    assert found.peak_power_w is not None
    assert 0 < found.energy_j <= found.peak_power_w * found.latency_s * (1 + 1e-9)
    three = predict_published(calibration, SMALL, 3)
    assert three.latency_s == pytest.approx(3 * found.latency_s)
    low, high = found.interval(found.latency_s, found.relative_error)
    assert 0 < low < found.latency_s < high


def test_a_polling_loop_rounds_latency_up() -> None:
    latency_s = predict_published(PI, SMALL).latency_s
    assert (latency_s + 0.0066) / 0.80208 == pytest.approx(round(latency_s / 0.80208), abs=1e-3)


def test_a_seed_and_a_place_give_the_same_figures_again() -> None:
    def study(seed: int) -> list[float]:
        draws = (Draw(seed, place) for place in range(20))
        return [predict_published(M1, SMALL, draw=draw).latency_s for draw in draws]

    assert study(1) == study(1)
    assert study(1) != study(2)
    assert len(set(study(1))) == 20
    assert study(1)[0] == pytest.approx(0.0598719, rel=1e-5)  # on every machine


def test_scatter_is_as_wide_as_the_calibration_says() -> None:
    drawn = [Draw(7, place).factors(M1) for place in range(3000)]
    within = [math.log(drawn[at][0] / drawn[at + 1][0]) for at in range(0, 3000, 15)]
    assert statistics.stdev(within) / math.sqrt(2) == pytest.approx(M1.scatter.latency, rel=0.15)
    sessions = [
        statistics.fmean(math.log(one[0]) for one in drawn[at : at + 15])
        for at in range(0, 3000, 15)
    ]
    wanted = math.hypot(M1.session_scatter, M1.scatter.latency / math.sqrt(15))
    assert statistics.stdev(sessions) == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"l": 2, "o": [["sa_sdp_64"]], "h": [64], "f": [[256]]},
        {"l": 1, "o": [[]], "h": [64], "f": [[256]]},
        {"l": 1, "o": [["sa_sdp_64", "sa_sdp_32"]], "h": [64], "f": [[256]]},
        {"l": 1, "o": [["magic_64"]], "h": [64], "f": [[256]]},
        {"l": 1, "o": [["sa_sdp_x"]], "h": [64], "f": [[256]]},
        {"l": 1, "o": [["sa_sdp_64"]], "h": [-64], "f": [[256]]},
        {"l": 1, "o": "ab", "h": [64], "f": [[256]]},
        {"l": 1, "o": [[64]], "h": [64], "f": [[256]]},
        {"l": 1, "o": [["sa_sdp_64"]], "h": [math.inf], "f": [[256]]},
        {"l": "1", "o": [["sa_sdp_64"]], "h": [64], "f": [[256]]},
    ],
)
def test_what_the_study_did_not_measure_has_no_figures(architecture: dict[str, Any]) -> None:
    with pytest.raises(NotCovered, match="the study's figures"):
        predict_published(PI, architecture)


def test_other_lengths_and_no_rows_are_refused() -> None:
    with pytest.raises(NotCovered, match="128 tokens"):
        predict_published(PI, SMALL, sequence_length=32)
    with pytest.raises(ValueError, match="batch_size"):
        predict_published(PI, SMALL, 0)
