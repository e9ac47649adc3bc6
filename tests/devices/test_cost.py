"""The cost model against its formula, its monotony, and the published bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from edgetran_devices import UnitModel, load_board, names, predict
from edgetran_protos.bundle import Work
from hypothesis import given
from hypothesis import strategies as st

UNITS = [unit for name in names() for unit in load_board(name).units.values()]

# BERT-Tiny (2 layers, hidden 128) at 128 tokens: 24 L h^2 + 4 L^2 h a layer; tables apart.
BERT_TINY = Work(
    matmul_flops=2 * (24 * 128 * 128**2 + 4 * 128**2 * 128),
    int8_ops=0.0,
    elementwise_bytes=2e6,
    weight_bytes=2 * 12 * 128**2 * 4.0,
    embedding_bytes=30522 * 128 * 4.0,
    kernel_launches=60,
)
# Published seconds for 872 sequences, start-up included: no honest prediction exceeds them.
PUBLISHED_S = {
    ("rpi4", "cpu"): 117.7,
    ("jetson-nano", "cpu"): 28.2,
    ("jetson-nano", "gpu"): 31.8,
    ("ncs2", "npu"): 78.4,
    ("m1", "cpu"): 5.88,
    ("m1", "gpu"): 3.89,
    ("a100", "gpu"): 3.52,
}

amounts = st.floats(0, 1e12)
works = st.builds(
    Work, amounts, amounts, amounts, amounts, amounts, kernel_launches=st.integers(0, 10_000)
)
units = st.sampled_from(UNITS)


def test_the_formula_by_hand() -> None:
    unit = replace(
        UNITS[0],
        fp32_flops=1e9,
        int8_ops=2e9,
        bandwidth_bytes_s=1e8,
        launch_s=1e-5,
        overhead_s=1e-3,
        active_w=4.0,
        peak_w=6.0,
    )
    work = Work(1e8, 1e8, 2e6, 1e6, 1e9, 100)
    one, ten = predict(unit, work), predict(unit, work, 10)
    assert one.latency_s == pytest.approx(1e-3 + 1e-3 + 0.15)  # computing rules
    assert ten.latency_s == pytest.approx(2e-3 + 1.5)
    assert one.energy_j == pytest.approx(4.0 * one.latency_s)
    assert one.peak_power_w == 6.0
    light = replace(work, matmul_flops=0.0, int8_ops=0.0)
    assert predict(unit, light).latency_s == pytest.approx(2e-3 + 0.03)  # memory rules


@given(
    units,
    works,
    st.sampled_from(
        ["matmul_flops", "int8_ops", "elementwise_bytes", "weight_bytes", "kernel_launches"]
    ),
    st.integers(1, 10**9),
    st.integers(1, 64),
)
def test_more_work_never_costs_less(
    unit: UnitModel, work: Work, field: str, more: int, batch_size: int
) -> None:
    heavier = replace(work, **{field: getattr(work, field) + more})
    before, after = predict(unit, work, batch_size), predict(unit, heavier, batch_size)
    assert after.latency_s >= before.latency_s
    assert after.energy_j >= before.energy_j


@given(units, works, st.integers(1, 64))
def test_a_larger_batch_costs_more_in_all_and_less_a_row(
    unit: UnitModel, work: Work, batch_size: int
) -> None:
    one, many = predict(unit, work), predict(unit, work, batch_size)
    slack = 1 + 1e-9
    assert one.latency_s <= many.latency_s * slack
    assert many.latency_s <= batch_size * one.latency_s * slack


@given(units, works)
def test_energy_lies_between_idle_and_peak_power(unit: UnitModel, work: Work) -> None:
    cost = predict(unit, work)
    assert unit.idle_w * cost.latency_s <= cost.energy_j <= cost.peak_power_w * cost.latency_s


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_rows(batch_size: int) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        predict(UNITS[0], BERT_TINY, batch_size)


@pytest.mark.parametrize(("board", "unit"), PUBLISHED_S)
def test_predictions_respect_the_published_upper_bounds(board: str, unit: str) -> None:
    cost = predict(load_board(board).units[unit], BERT_TINY)
    assert cost.latency_s < PUBLISHED_S[board, unit] / 872
