"""The oracle: its formulas against slow ones, files, noise, and the truths that are made."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.score_truth import FEATURES, ScoreTruth, features
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.surrogates.rows import MEASURES, rows_of
from edgetran_host.surrogates.shipped import load_shipped
from edgetran_protos.errors import DataError


@pytest.fixture(scope="module")
def making(root: Path) -> ModuleType:
    """benchmarks/make_oracles.py"""
    spec = importlib.util.spec_from_file_location(
        "make_oracles", root / "benchmarks/make_oracles.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hostile(making: ModuleType) -> Oracle:
    found: Oracle = making.oracle_of(making.hostile())
    return found


@pytest.fixture(scope="module")
def pairs(hostile: Oracle) -> list[Pair]:
    space = ProductSpace(DesignSpace.flexibert2(), hostile.places)
    return space.sample(np.random.default_rng(0), 40, tied=False)


def test_a_file_holds_the_whole_truth(hostile: Oracle, pairs: list[Pair], tmp_path: Path) -> None:
    hostile.save(tmp_path / "truth.npz")
    again = Oracle.load(tmp_path / "truth.npz")
    assert again.exact(pairs) == hostile.exact(pairs)
    assert again.places == hostile.places
    rng = np.random.default_rng
    assert again.measure(pairs, rng(1)) == hostile.measure(pairs, rng(1))
    assert again.measure(pairs, rng(1)) != hostile.measure(pairs, rng(2))


def test_costs_are_those_of_the_shipped_surrogates(hostile: Oracle, pairs: list[Pair]) -> None:
    """But for the polling of the loop that measured them."""
    for pair, outcome in zip(pairs, hostile.exact(pairs), strict=True):
        surrogate = load_shipped(pair.place.board)
        row = {"architecture": pair.architecture.to_dict(), **dict.fromkeys(MEASURES, 1.0)}
        inputs = surrogate.inputs(rows_of([("", [row])]))
        for name in MEASURES:
            (foretold,) = surrogate.measures[name].model.smooth(inputs)
            assert getattr(outcome, name) == pytest.approx(foretold)


def test_scores_follow_the_formula(hostile: Oracle, pairs: list[Pair]) -> None:
    truth = hostile.score
    phi = features([pairs[0].architecture])[0]
    u = truth.bias + sum(w * x for w, x in zip(truth.linear, phi, strict=True))
    for row, one in zip(truth.quadratic, phi, strict=True):
        u += sum(q * one * other for q, other in zip(row, phi, strict=True))
    for height, direction, place, width in zip(
        truth.step_heights,
        truth.step_directions,
        truth.step_places,
        truth.step_widths,
        strict=True,
    ):
        u += height * math.tanh((sum(direction * phi) - place) / width)
    score = truth.low + (truth.high - truth.low) / (1 + math.exp(-u))
    assert hostile.exact(pairs[:1])[0].score == pytest.approx(score)


def test_features_of_a_small_design() -> None:
    """Worked by hand: a layer of two sa heads, then one of four heads of two kinds."""
    design = Architecture.from_dict(
        {
            "l": 2,
            "h": [128, 768],
            "o": [["sa_sdp_64"] * 2, ["sa_sdp_192", "c_5_192", "c_5_192", "c_5_192"]],
            "f": [[512], [1024, 4096]],
        }
    )
    found = dict(zip(FEATURES, features([design])[0], strict=True))
    assert found["depth"] == pytest.approx(math.log(2) / math.log(12))
    assert found["mean_width"] == pytest.approx(0.5)  # 0 and 1
    assert found["ends_width"] == pytest.approx(-0.5)  # weights 1 and -1
    assert found["middle_width"] == pytest.approx(0.5)  # weights 1 and 1
    assert found["parity_width"] == pytest.approx(-0.5)
    assert found["least_width"] == 0
    assert found["jump_width"] == pytest.approx(1)
    assert found["mean_stack"] == pytest.approx(0.25)
    assert found["mean_squeeze"] == pytest.approx(math.log(4) / math.log(16) / 2)
    assert found["mean_neurons"] == pytest.approx(math.log(5120 / 3072) / math.log(8) / 2)
    assert found["mean_c_5_share"] == pytest.approx((1 - math.exp(-3)) / 2)
    assert found["least_sa_sdp_share"] == pytest.approx(1 - math.exp(-1))


def test_noise_has_its_stated_deviation(hostile: Oracle, pairs: list[Pair]) -> None:
    pair, rng = pairs[0], np.random.default_rng(3)
    noise, (truth,) = hostile.noise(pair.place), hostile.exact([pair])
    seen = hostile.measure([pair] * 500, rng)
    spread = np.std(np.log([one.latency_s for one in seen]))
    assert spread == pytest.approx(noise.latency, rel=0.15)
    assert np.mean(np.log([one.latency_s for one in seen])) == pytest.approx(
        math.log(truth.latency_s), abs=4 * noise.latency / 500**0.5
    )
    scores = [one.score for one in seen]
    assert np.std(scores) == pytest.approx(hostile.seed_noise, rel=0.15)
    assert {one.size_bytes for one in seen} == {truth.size_bytes}


def test_the_dev_rows_of_a_design_stay_the_same(hostile: Oracle, pairs: list[Pair]) -> None:
    """Repeating does not average them out; over designs they have the stated deviation."""
    space = ProductSpace(DesignSpace.flexibert2(), hostile.places)
    many = space.sample(np.random.default_rng(5), 200, tied=True)
    quiet = Oracle(hostile.board, hostile.score, hostile.cost_noise, 0.004, 0.0)
    first, second = (quiet.measure(many, np.random.default_rng(seed)) for seed in (1, 2))
    assert [one.score for one in first] == [one.score for one in second]
    errors = [a.score - b.score for a, b in zip(first, quiet.exact(many), strict=True)]
    assert np.std(errors) == pytest.approx(0.004, rel=0.15)


@pytest.mark.parametrize("name", ["friendly", "hostile", "unseen"])
def test_truths_are_anchored_to_published_scores(making: ModuleType, name: str) -> None:
    truth: ScoreTruth = making.TRUTHS[name]()
    for (layers, hidden), known in making.ANCHORS.items():
        (found,) = truth.scores([making.bert(layers, hidden)])
        assert found == pytest.approx(known, abs=0.05)


def test_layer_order_matters_only_to_the_hostile_truth(
    making: ModuleType, hostile: Oracle, pairs: list[Pair]
) -> None:
    designs = [pair.architecture for pair in pairs]
    turned = [Architecture(design.layers[::-1]) for design in designs]
    mild = making.friendly()
    assert mild.scores(turned) == pytest.approx(mild.scores(designs))
    assert np.abs(hostile.score.scores(turned) - hostile.score.scores(designs)).mean() > 0.01


def test_a_board_nobody_knows(hostile: Oracle, pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="nothing of abacus:cpu"):
        hostile.exact([Pair(pairs[0].architecture, Place("abacus:cpu"))])


def test_unreadable_files(tmp_path: Path) -> None:
    for name, write in {
        "text.npz": lambda path: path.write_text("no archive"),
        "other.npz": lambda path: np.savez(path, format="edgetran-oracle-0"),
        "bare.npz": lambda path: np.savez(path, boards=np.zeros(2)),
    }.items():
        write(tmp_path / name)
        with pytest.raises(DataError) as caught:
            Oracle.load(tmp_path / name)
        assert "make_oracles.py" in caught.value.hint
    with pytest.raises(DataError, match="cannot read"):
        Oracle.load(tmp_path / "absent.npz")
