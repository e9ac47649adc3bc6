"""A new board from few rows: what other boards and the datasheet add."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import edgetran_devices
import numpy as np
import pytest
from edgetran_host.space.identity import architecture_id
from edgetran_host.surrogates.contours import contour, contour_figure, designs_of
from edgetran_host.surrogates.cost_model import CostModel, Effects
from edgetran_host.surrogates.few_shot import datasheet_source, fit_few, fit_none
from edgetran_host.surrogates.plots import write_page
from edgetran_host.surrogates.rows import Rows, read_rows, rows_of
from edgetran_host.surrogates.scoring import score
from edgetran_host.surrogates.shipped import (
    FOLDER,
    datasheet,
    datasheets,
    find_model,
    load_shipped,
    others_than,
    shipped_names,
)
from edgetran_host.surrogates.surrogate import (
    Confidence,
    MeasureModel,
    Surrogate,
    fit_surrogate,
)
from edgetran_protos.errors import DataError

from tests.host.surrogates.conftest import MakeRows

PUBLISHED = {"rpi4": "campaign-2022-04/cpu-rpi4.json", "a100": "campaign-2022-04/gpu-a100.json"}


def test_another_board_of_like_costs_saves_rows(surrogate: Surrogate, make_rows: MakeRows) -> None:
    raw = make_rows(66, seed=3)
    for row in raw:
        row["latency_s"] *= 7
    rows = rows_of([("new", raw)])
    few, others = rows.take(np.arange(6)), rows.take(np.arange(6, 66))
    alone = score(fit_surrogate(few), others)["latency_s"].mape
    helped = score(fit_few(few, [surrogate]), others)["latency_s"].mape
    assert helped < 0.05
    assert helped < 0.5 * alone


def test_the_datasheet_counts_seconds(rows: Rows) -> None:
    unit = edgetran_devices.load_board("rpi4").units["cpu"]
    source = datasheet_source(unit, rows.names)
    flops = source.costs[rows.names.index("feed_forward_flops")]
    assert flops == pytest.approx(1 / unit.fp32_flops)
    assert (rows.terms @ source.costs > 0).all()


def test_without_other_boards_the_rows_speak_alone(rows: Rows) -> None:
    found = fit_few(rows.take(np.arange(12)), [])
    assert found.measures["latency_s"].confidence.level == "low"
    assert found.measures["latency_s"].error < 0.5
    with pytest.raises(DataError, match="2 designs are too few"):
        fit_few(rows.take(np.arange(2)), [])


def test_every_unit_that_was_published_is_shipped_with_its_licence() -> None:
    assert shipped_names() == (
        "a100:gpu",
        "jetson-nano:cpu",
        "jetson-nano:gpu",
        "m1:cpu",
        "m1:gpu",
        "ncs2:npu",
        "rpi4:cpu",
    )
    assert "BSD 3-Clause License" in (FOLDER / "NOTICE").read_text(encoding="utf-8")
    for name in shipped_names():
        assert find_model(name).rows == load_shipped(name).rows
    assert len(others_than("m1")) == 5
    assert len(others_than("")) == 7
    assert datasheet("nano:gpu")[0] == "jetson-nano"


def test_the_stick_is_trusted_little_and_the_pi_much() -> None:
    stick, pi = load_shipped("ncs2:npu"), load_shipped("rpi4:cpu")
    assert stick.measures["latency_s"].confidence.level == "low"
    assert pi.measures["latency_s"].confidence.level == "high"


@pytest.mark.parametrize("word", ["nowhere.json", "nano:npu", "local"])
def test_no_such_model(word: str) -> None:
    with pytest.raises(DataError) as caught:
        find_model(word)
    assert "rpi4:cpu" in caught.value.hint


@pytest.mark.parametrize("board", PUBLISHED)
def test_published_rows_of_a_board_left_out(shared: Path, board: str) -> None:
    rows = read_rows([shared / "data" / "protran" / PUBLISHED[board]])
    board_id, _ = datasheet(board)
    order = np.random.default_rng(0).permutation(len(rows))
    few = fit_few(rows.take(order[:16]), others_than(board_id), datasheets())
    assert score(few, rows.take(order[16:]))["latency_s"].mape < 0.05


def test_a_page_of_plots(
    tmp_path: Path, surrogate: Surrogate, rows: Rows, make_rows: MakeRows
) -> None:
    data = tmp_path / "rows.json"
    data.write_text(json.dumps(make_rows(28)))
    write_page(surrogate, rows, tmp_path / "page.html", designs_of([data]))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page


def test_depth_and_width_of_known_designs(
    tmp_path: Path, surrogate: Surrogate, rows: Rows, make_rows: MakeRows
) -> None:
    data = tmp_path / "rows.json"
    data.write_text(json.dumps(make_rows(28)))
    designs = designs_of([data])
    assert [architecture_id(one) for one in designs] == list(rows.ids)
    found = contour(surrogate, designs)
    assert (np.diff(found.values, axis=0) > 0).all(), "wider costs more"
    assert (np.diff(found.values, axis=1) > 0).all(), "deeper costs more"
    assert contour_figure(surrogate, rows, designs[:5]) is None, "designs of other rows"


def test_without_rows_boards_of_like_ratios_foretell_a_new_one(rows: Rows) -> None:
    """Three boards, each three times its datasheet: so is the fourth."""
    new = edgetran_devices.load_board("rpi4").units["cpu"]
    units = [new, replace(new, fp32_flops=4e9), replace(new, bandwidth_bytes_s=9e9)]
    boards = [(_three_times(unit, rows), unit) for unit in units]
    fourth = replace(new, fp32_flops=2e10)
    found = fit_none(rows.names, boards, fourth)
    truth = 3 * rows.terms @ datasheet_source(fourth, rows.names).costs
    foretold = found.predict(rows)["latency_s"]
    assert np.median(np.abs(foretold.value / truth - 1)) < 0.25
    assert found.measures["latency_s"].confidence.level == "low"
    with pytest.raises(DataError, match="1 other boards"):
        fit_none(rows.names, boards[:1], fourth)


def _three_times(unit: edgetran_devices.UnitModel, rows: Rows) -> Surrogate:
    costs = 3 * datasheet_source(unit, rows.names).costs
    measure = MeasureModel(CostModel(Effects(), 0.0, costs, 1e-9), 0.1, 0.1, Confidence("high", ""))
    return Surrogate(rows.names, (), 20, {}, {"latency_s": measure})
