"""Surrogates of boards whose costs are known: found again, safe outside, honest inside."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from edgetran_host.surrogates.cost_model import Effects, Inputs, fit_cost_model
from edgetran_host.surrogates.recalibrating import recalibrate
from edgetran_host.surrogates.rows import Rows, rows_of
from edgetran_host.surrogates.scoring import score
from edgetran_host.surrogates.storing import from_json, load, save, to_json
from edgetran_host.surrogates.surrogate import KINDS, Surrogate, fit_surrogate
from edgetran_protos.errors import DataError

from tests.host.surrogates.conftest import CONSTANT_S, COSTS, MakeRows

LATENCY = KINDS["latency_s"]


def inputs_of(rows: Rows) -> Inputs:
    return Inputs(rows.terms, rows.memory, rows.orders)


def test_costs_are_found_again(make_rows: MakeRows) -> None:
    rows = rows_of([("board", make_rows(80, noise=1e-4))])
    model = fit_cost_model(inputs_of(rows), rows.measures["latency_s"], Effects(), LATENCY)
    found = dict(zip(rows.names, model.costs))
    assert model.constant == pytest.approx(CONSTANT_S, rel=0.05)
    assert found["feed_forward_flops"] == pytest.approx(COSTS["feed_forward_flops"], rel=0.02)
    assert found["c_9_heads"] == pytest.approx(COSTS["c_9_heads"], rel=0.1)


def test_wrong_rows_are_passed_over(make_rows: MakeRows) -> None:
    raw = make_rows(60)
    for row in raw[::12]:
        row["latency_s"] *= 3
    rows, sound = rows_of([("board", raw)]), rows_of([("board", make_rows(40, seed=1))])
    model = fit_cost_model(inputs_of(rows), rows.measures["latency_s"], Effects(), LATENCY)
    errors = np.abs(model.predict(inputs_of(sound)) / sound.measures["latency_s"] - 1)
    assert errors.mean() < 0.02


def test_no_design_gets_cheaper_by_more_work(surrogate: Surrogate, rows: Rows) -> None:
    for name, measure in surrogate.measures.items():
        model = dataclasses.replace(measure.model, residual=None)
        inputs = inputs_of(rows)
        before = model.smooth(inputs)
        for column in range(len(rows.names)):
            more = inputs.terms.copy()
            more[:, column] *= 2
            after = model.smooth(dataclasses.replace(inputs, terms=more))
            assert (after >= before).all(), (name, rows.names[column])


def test_dear_designs_are_foretold_from_cheap_ones(make_rows: MakeRows) -> None:
    rows = rows_of([("board", make_rows(56))])
    latency = rows.measures["latency_s"]
    cheap = latency <= np.median(latency)
    model = fit_cost_model(inputs_of(rows.take(cheap)), latency[cheap], Effects(), LATENCY)
    foretold = model.predict(inputs_of(rows.take(~cheap)))
    assert np.abs(foretold / latency[~cheap] - 1).mean() < 0.03


def test_intervals_cover_designs_that_were_not_seen(
    surrogate: Surrogate, make_rows: MakeRows
) -> None:
    others = rows_of([("elsewhere", make_rows(300, seed=5))])
    for name, one in score(surrogate, others).items():
        assert 0.80 <= one.coverage_90 <= 1.0, name
    assert score(surrogate, others)["latency_s"].mape < 0.03
    assert score(surrogate, others)["latency_s"].n == 300


def test_a_polling_step_is_found_and_foretold(make_rows: MakeRows) -> None:
    raw = make_rows(120, noise=0.002)
    for row in raw:
        row["latency_s"] = float(np.ceil(row["latency_s"] / 0.8) * 0.8)
    rows = rows_of([("board", raw)])
    train, held = rows.take(np.arange(80)), rows.take(np.arange(80, 120))
    values = held.measures["latency_s"]
    model = fit_cost_model(
        inputs_of(train), train.measures["latency_s"], Effects(polled=True), LATENCY
    )
    assert model.polling is not None
    assert model.polling.step == pytest.approx(0.8, rel=1e-3)
    assert np.mean(np.abs(model.predict(inputs_of(held)) - values) < 0.01) > 0.8


def test_a_memory_cliff_is_found(make_rows: MakeRows) -> None:
    raw = make_rows(80)
    memory = rows_of([("board", raw)]).memory
    at = float(np.median(memory))
    for row, size in zip(raw, memory):
        row["latency_s"] += 1e-7 * max(0.0, size - at)
    rows = rows_of([("board", raw)])
    model = fit_cost_model(
        inputs_of(rows), rows.measures["latency_s"], Effects(cliff=True), LATENCY
    )
    assert model.cliff_bytes == pytest.approx(at, rel=0.1)
    assert model.cliff_cost == pytest.approx(1e-7, rel=0.1)


def test_drift_is_taken_for_the_set_up_not_for_the_designs(make_rows: MakeRows) -> None:
    raw = make_rows(90, noise=0.005)
    for row in raw[45:]:
        row["latency_s"] += 2.0
    rows = rows_of([("board", raw)])
    held = np.arange(90) % 4 == 1
    train, latency = rows.take(~held), rows.measures["latency_s"]
    plain, drifting = (
        fit_cost_model(inputs_of(train), latency[~held], effects, LATENCY)
        for effects in (Effects(), Effects(drift="added"))
    )
    errors = [
        np.abs(model.predict(inputs_of(rows.take(held))) / latency[held] - 1).mean()
        for model in (plain, drifting)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_saved_is_loaded(tmp_path: Path, surrogate: Surrogate, rows: Rows) -> None:
    save(surrogate, tmp_path / "model.json")
    again = load(tmp_path / "model.json")
    assert to_json(again) == to_json(surrogate)
    for name, one in surrogate.predict(rows).items():
        assert again.predict(rows)[name].value.tolist() == one.value.tolist()
        assert again.predict(rows)[name].high.tolist() == one.high.tolist()


@pytest.mark.parametrize("key", ["terms", "measures", "campaigns", "rows", "setting"])
def test_a_damaged_file_is_refused(surrogate: Surrogate, key: str) -> None:
    raw = json.loads(json.dumps(to_json(surrogate)))
    del raw[key]
    with pytest.raises(DataError, match="damaged"):
        from_json(raw)


def test_other_files_and_versions_are_refused(surrogate: Surrogate) -> None:
    raw = to_json(surrogate)
    for wrong, said in (([], "no surrogate"), ({**raw, "version": 99}, "version 99")):
        with pytest.raises(DataError, match=said):
            from_json(wrong)


def test_few_designs_are_refused_or_trusted_little(make_rows: MakeRows) -> None:
    with pytest.raises(DataError, match="1 designs are too few"):
        fit_surrogate(rows_of([("board", make_rows(1))]))
    few = fit_surrogate(rows_of([("board", make_rows(9))]))
    assert {one.confidence.level for one in few.measures.values()} == {"low"}
    assert "9 designs" in few.measures["latency_s"].confidence.reason


def test_what_has_no_sensor_is_not_foretold(make_rows: MakeRows) -> None:
    raw = [{**row, "energy_j": None, "peak_power_w": None} for row in make_rows(8)]
    assert list(fit_surrogate(rows_of([("board", raw)])).measures) == ["latency_s"]


def test_five_rows_move_a_surrogate_to_a_new_set_up(
    surrogate: Surrogate, make_rows: MakeRows
) -> None:
    raw = make_rows(105, seed=9)
    for row in raw:
        row["latency_s"] = 1.4 * row["latency_s"] + 0.3
    rows = rows_of([("new", raw)])
    few, others = rows.take(np.arange(5)), rows.take(np.arange(5, 105))
    before = score(surrogate, others)["latency_s"]
    after = score(recalibrate(surrogate, few), others)["latency_s"]
    assert before.mape > 0.25
    assert after.mape < 0.04
    assert after.coverage_90 > 0.8


def test_one_row_moves_nothing(surrogate: Surrogate, make_rows: MakeRows) -> None:
    with pytest.raises(DataError, match="1 designs cannot recalibrate"):
        recalibrate(surrogate, rows_of([("new", make_rows(1))]))


def test_no_peak_is_foretold_beyond_the_measured_ones(make_rows: MakeRows) -> None:
    raw = make_rows(24, noise=0.0)
    for row in raw:
        row["peak_power_w"] = 2.0 + 0.1 * row["latency_s"]
    rows = rows_of([("board", raw)])
    peaks = rows.measures["peak_power_w"]
    small = rows.take(peaks <= np.median(peaks))
    fitted = fit_cost_model(
        inputs_of(small), small.measures["peak_power_w"], Effects(), KINDS["peak_power_w"]
    )
    foretold = fitted.predict(inputs_of(rows))
    assert foretold.max() == small.measures["peak_power_w"].max()
    assert foretold.min() >= peaks.min()
    assert np.ptp(foretold) > 0
