"""Coefficients are found again from times and energies that a known board would have shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgetran_devices import UnitModel, load_board, predict
from edgetran_host.calibrating.fitting import Measured, errors, fit_unit
from edgetran_protos.bundle import Work
from edgetran_protos.errors import DataError

PI = replace(
    load_board("rpi4").units["cpu"], operation_j=2e-11, adds_up=True, activation_bytes_s=2e9
)
WORKS = [
    Work(4.2e6, 0, 3.4e4, 6.6e4, 512, 5),
    Work(6.7e7, 0, 1.3e5, 1e6, 2048, 5),
    Work(2.7e8, 0, 2.6e5, 4.2e6, 4096, 5),
    Work(6.0e8, 0, 3.9e5, 9.4e6, 6144, 5),
    Work(0, 6.7e7, 2.0e5, 2.7e5, 520, 19),
    Work(0, 6.0e8, 6.0e5, 2.4e6, 1544, 19),
    Work(4.2e6, 0, 2.1e3, 8.4e6, 4096, 9),
    Work(1.3e7, 0, 4.1e3, 2.5e7, 8192, 7),
    Work(0, 0, 8.5e6, 3.3e4, 2048, 33),
    Work(0, 0, 1.9e7, 7.4e4, 6144, 25),
    Work(0, 0, 1.3e4, 6.4e3, 64, 201),
    Work(0, 0, 2.6e4, 1.3e4, 64, 401),
    Work(6.8e7, 0, 7.9e6, 1.7e6, 5.1e5, 65),
    Work(2.5e9, 0, 1.1e8, 4.3e7, 1.5e6, 165),
]
UNSEEN = [Work(9e8, 0, 3e7, 2e7, 1e6, 90), Work(1e8, 5e8, 2e7, 4e6, 1e6, 150)]


def measured(unit: UnitModel, noise: float = 0.0, sensor: bool = True) -> list[Measured]:
    rng = np.random.default_rng(5)
    rows = []
    for at, work in enumerate(WORKS):
        found = predict(unit, work)
        factor = float(np.exp(rng.normal(0, noise)))
        latency_s = found.latency_s * factor
        assert found.energy_j is not None
        rows.append(
            Measured(
                name=f"graph {at}",
                work=work,
                latency_s=latency_s,
                p95_s=1.1 * latency_s,
                p99_s=1.3 * latency_s,
                energy_j=found.energy_j * factor if sensor else None,
                peak_power_w=unit.peak_w if sensor else None,
                idle_power_w=unit.idle_w if sensor else None,
            )
        )
    return rows


def test_a_known_board_is_found_again() -> None:
    fit = fit_unit("cpu", ("onnxruntime",), measured(PI), "a test")
    assert np.abs(errors(fit.unit, measured(PI))).max() < 0.02
    for work in UNSEEN:
        found, true = predict(fit.unit, work), predict(PI, work)
        assert found.latency_s == pytest.approx(true.latency_s, rel=0.03)
        assert found.energy_j == pytest.approx(true.energy_j, rel=0.05)
    assert fit.unit.fp32_flops == pytest.approx(PI.fp32_flops, rel=0.05)
    assert fit.unit.bandwidth_bytes_s == pytest.approx(PI.bandwidth_bytes_s, rel=0.05)
    assert fit.unit.activation_bytes_s == pytest.approx(2e9, rel=0.05)
    assert fit.unit.launch_s == pytest.approx(PI.launch_s, rel=0.1)
    assert fit.unit.active_w == pytest.approx(PI.active_w, rel=0.05)
    assert fit.unit.idle_w == PI.idle_w
    assert fit.unit.operation_j == pytest.approx(PI.operation_j, rel=0.1)
    assert (fit.unit.p95_ratio, fit.unit.p99_ratio) == pytest.approx((1.1, 1.3))


def test_the_error_bar_holds_what_was_left_out() -> None:
    rows = measured(PI, noise=0.1)
    fit = fit_unit("cpu", ("onnxruntime",), rows, "a test")
    assert 0.05 < fit.unit.relative_error < 1
    assert fit.unit.energy_error is not None
    inside = [
        abs(np.log(foretold / row.latency_s)) <= np.log1p(fit.unit.relative_error) + 1e-9
        for foretold, row in zip(fit.latency_s, rows)
    ]
    assert np.mean(inside) >= 0.9


def test_a_wrong_graph_is_not_believed() -> None:
    rows = measured(PI)
    rows[2] = replace(rows[2], latency_s=3 * rows[2].latency_s)
    fit = fit_unit("cpu", ("onnxruntime",), rows, "a test")
    others = [row for at, row in enumerate(rows) if at != 2]
    assert np.abs(errors(fit.unit, others)).mean() < 0.1


def test_without_a_sensor_there_is_no_energy() -> None:
    blind = measured(PI, sensor=False)
    nearly = [*blind[:7], *measured(PI)[7:]]
    assert sum(row.energy_j is not None for row in nearly) == 7
    for rows in (blind, nearly):
        fit = fit_unit("cpu", ("onnxruntime",), rows, "a test")
        assert not fit.has_energy
        assert (fit.unit.idle_w, fit.unit.active_w, fit.unit.peak_w) == (None, None, None)
        found = predict(fit.unit, WORKS[3])
        assert (found.energy_j, found.peak_power_w) == (None, None)
        assert found.latency_s > 0


def test_a_graph_too_short_for_the_sensor_costs_no_energy_of_the_others() -> None:
    rows = [*measured(PI, sensor=False)[:3], *measured(PI)[3:]]
    fit = fit_unit("cpu", ("onnxruntime",), rows, "a test")
    assert fit.unit.active_w == pytest.approx(PI.active_w, rel=0.05)
    assert fit.unit.operation_j == pytest.approx(PI.operation_j, rel=0.1)


def test_too_few_graphs_are_refused() -> None:
    with pytest.raises(DataError, match="7 graphs are too few"):
        fit_unit("cpu", ("onnxruntime",), measured(PI)[:7], "a test")
