"""The catalogue's published calibrations agree with surrogates and with the published rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgetran_devices import load_board, predict_published
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.parameters import count_parameters
from edgetran_host.space.sampling import sample
from edgetran_host.surrogates.rows import rows_of
from edgetran_host.surrogates.shipped import load_shipped, shipped_names
from edgetran_host.surrogates.terms import architecture_terms, memory_bytes

MAIN, FIRST = "protran-2022-main", "protran-2022"
PUBLISHED = [  # board, unit, calibration, rows, mean absolute percentage errors
    ("a100", "gpu", FIRST, "campaign-2022-04/gpu-a100-template.json", 2, 4),
    ("rpi4", "cpu", FIRST, "campaign-2022-04/cpu-rpi4.json", 2, 7),
    ("m1", "gpu", FIRST, "campaign-2022-04/gpu-m1-pro.json", 6, 6),
    ("jetson-nano", "cpu", FIRST, "campaign-2022-04/cpu-jetson-nano.json", 10, 11),
    ("m1", "cpu", FIRST, "campaign-2022-04/cpu-m1-pro.json", 10, 14),
    ("jetson-nano", "cpu", MAIN, "cpu-jetson-nano.json", 18, 18),
]


@pytest.mark.parametrize("name", shipped_names())
def test_the_calibration_and_the_surrogate_are_one(name: str) -> None:
    board, unit = name.split(":")
    calibration = load_board(board).units[unit].calibrations[FIRST]
    surrogate = load_shipped(name)
    designs = sample(DesignSpace.flexibert2(), 12, np.random.default_rng(3))
    raw = [
        {"architecture": one.to_dict(), "latency_s": 1.0, "energy_j": 1.0, "peak_power_w": 1.0}
        for one in designs
    ]
    foretold = surrogate.predict(rows_of([("x", raw)]))
    for at, design in enumerate(designs):
        found = predict_published(calibration, design.to_dict())
        assert found.latency_s == pytest.approx(foretold["latency_s"].value[at])
        assert found.energy_j == pytest.approx(foretold["energy_j"].value[at])
    for error, measure in zip(calibration.error, surrogate.measures.values()):
        assert error > 0.94 * np.expm1(measure.half_width)
    level = surrogate.measures["latency_s"].confidence.level
    assert calibration.confidence == level


def test_weights_are_counted_as_the_space_counts_them() -> None:
    for design in sample(DesignSpace.flexibert2(), 20, np.random.default_rng(4)):
        assert memory_bytes(architecture_terms(design)) == 4 * count_parameters(design).total


@pytest.mark.parametrize(("board", "unit", "name", "file", "latency", "energy"), PUBLISHED)
def test_the_published_rows_are_reproduced(
    shared: Path, board: str, unit: str, name: str, file: str, latency: int, energy: int
) -> None:
    rows = json.loads((shared / "data" / "protran" / file).read_bytes())
    calibration = load_board(board).units[unit].calibrations[name]
    found = [predict_published(calibration, row["architecture"]) for row in rows]
    for at, key in enumerate(("latency_s", "energy_j", "peak_power_w")):
        inside = [
            abs(np.log(row[key] / getattr(one, key))) <= np.log1p(one.errors[at])
            for one, row in zip(found, rows)
        ]
        assert np.mean(inside) > 0.88, key
    errors_s = [one.latency_s / row["latency_s"] - 1 for one, row in zip(found, rows)]
    errors_j = [(one.energy_j or 0) / row["energy_j"] - 1 for one, row in zip(found, rows)]
    assert 100 * np.abs(errors_s).mean() <= latency
    assert 100 * np.abs(errors_j).mean() <= energy
