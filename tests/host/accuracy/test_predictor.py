"""A predictor knows a smooth truth, refuses shuffled scores, and its intervals hold."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from edgetran_host.accuracy import gate as gates
from edgetran_host.accuracy.predictor import AccuracyPredictor
from edgetran_host.accuracy.scored import (
    ScoredDesign,
    read_table,
    scored_designs,
    shared_fidelities,
)
from edgetran_host.accuracy.screening import predictor_of, screen, worthwhile
from edgetran_host.accuracy.storing import load, save
from edgetran_host.cosearch.evaluator import Evaluation, Request
from edgetran_host.cosearch.features import ArchitectureFeatures
from edgetran_host.cosearch.fidelities import Seen
from edgetran_host.cosearch.moves import tie
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.score_truth import ScoreTruth
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_protos.errors import DataError
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from tests.host.cosearch.toy_world import PLACES, outcome_of, toy_goal

SPACE = DesignSpace.flexibert2()
NOISE = 0.0064  # of a training, as the oracle's
COUNT = 30


@pytest.fixture(scope="module")
def features() -> ArchitectureFeatures:
    return ArchitectureFeatures(SPACE)


def drawn(count: int, seed: int) -> list[Architecture]:
    designs = sample(SPACE, count, np.random.default_rng(seed))
    return [tie(one) if at % 2 else one for at, one in enumerate(designs)]


@lru_cache(maxsize=1)
def friendly() -> ScoreTruth:
    """The smooth one of benchmarks/make_oracles.py."""
    file = Path(__file__).parents[3] / "benchmarks" / "make_oracles.py"
    found: ScoreTruth = runpy.run_path(str(file))["friendly"]()
    return found


def trained(designs: list[Architecture], seed: int) -> list[ScoredDesign]:
    """The cheap score is the truth from afar: shifted, squeezed, noisier."""
    rng = np.random.default_rng(seed)
    return [
        ScoredDesign(
            one,
            float(true + NOISE * rng.normal()),
            {"transfer": float(0.3 + true / 2 + NOISE * rng.normal())},
        )
        for one, true in zip(designs, friendly().scores(designs))
    ]


def shuffled(designs: list[ScoredDesign], seed: int) -> list[ScoredDesign]:
    order = np.random.default_rng(seed).permutation(len(designs))
    return [replace(one, score=designs[at].score) for one, at in zip(designs, order)]


@pytest.fixture(scope="module")
def skilled(features: ArchitectureFeatures) -> AccuracyPredictor:
    return AccuracyPredictor(features, trained(drawn(COUNT, 0), 0))


def test_a_smooth_truth_passes_the_gate(skilled: AccuracyPredictor) -> None:
    assert skilled.gate.passes
    fresh = drawn(60, 1)
    found = skilled.predict(fresh)
    true = friendly().scores(fresh)
    mean = np.mean([one.score for one in skilled.designs])
    errors = np.sqrt(np.mean((found.value - true) ** 2))
    assert errors < 0.8 * np.sqrt(np.mean((mean - true) ** 2))
    assert np.corrcoef(rankdata(found.value), rankdata(true))[0, 1] > 0.6
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()


def test_shuffled_scores_do_not_pass(features: ArchitectureFeatures) -> None:
    for seed in range(3):
        mixed = shuffled(trained(drawn(COUNT, seed), seed), seed)
        predictor = AccuracyPredictor(features, mixed)
        assert not predictor.gate.passes
        with pytest.raises(DataError, match=r"times the error of their mean") as caught:
            predictor.predict(drawn(1, 9))
        assert "train" in caught.value.hint


def test_a_cheap_score_of_the_design_itself_helps(features: ArchitectureFeatures) -> None:
    """A truth that the features cannot see, and a cheap score that has half of it."""
    rng = np.random.default_rng(3)
    hidden = rng.normal(size=COUNT)
    designs = [
        ScoredDesign(one, 0.8 + 0.02 * own, {"transfer": 0.6 + 0.05 * own + 0.01 * rng.normal()})
        for one, own in zip(drawn(COUNT, 3), hidden)
    ]
    assert not AccuracyPredictor(features, designs).gate.passes
    predictor = AccuracyPredictor(features, designs, cheap="transfer")
    assert predictor.gate.passes
    low, high = predictor.predict(drawn(2, 4), np.array([0.55, 0.65])).value
    assert high - low == pytest.approx(0.04, abs=0.01)


def test_intervals_hold_the_scores_of_further_trainings(features: ArchitectureFeatures) -> None:
    within = []
    for seed in range(5):
        predictor = AccuracyPredictor(features, trained(drawn(COUNT, seed), seed))
        fresh = trained(drawn(40, 100 + seed), 100 + seed)
        found = predictor.predict([one.architecture for one in fresh])
        scores = np.array([one.score for one in fresh])
        within.append(np.mean((found.low <= scores) & (scores <= found.high)))
    assert 0.8 <= np.mean(within) <= 0.98  # 90 % asked of five times 40


def test_few_designs_are_not_asked(features: ArchitectureFeatures) -> None:
    predictor = AccuracyPredictor(features, trained(drawn(gates.LEAST_DESIGNS - 1, 0), 0))
    with pytest.raises(DataError, match="11 trained designs, at least 12"):
        predictor.predict(drawn(1, 1))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=12, max_size=20))
def test_the_gate_is_its_formula(points: list[tuple[float, float]]) -> None:
    foretold, scores = map(np.array, zip(*points))
    total = scores.sum()
    means = np.array([(total - score) / (len(scores) - 1) for score in scores])
    gate = gates.gate_of(foretold, scores, means)
    error = sum((f - s) ** 2 for f, s in points) / len(points)
    constant = sum((m - s) ** 2 for m, s in zip(means, scores)) / len(points)
    ranks = 0.0
    if np.ptp(foretold) and np.ptp(scores):
        ranks = float(np.corrcoef(rankdata(foretold), rankdata(scores))[0, 1])
    assert gate.spearman == pytest.approx(ranks, abs=1e-9)
    assert gate.error == pytest.approx(error**0.5)
    assert gate.constant_error == pytest.approx(constant**0.5)
    clear = abs(gate.error - 0.8 * gate.constant_error) > 1e-9 and abs(ranks - 0.6) > 1e-9
    if clear:
        assert gate.passes == (error**0.5 < 0.8 * constant**0.5 and ranks > 0.6)


@pytest.mark.parametrize("skill", [True, False])
def test_a_file_holds_the_whole_predictor(
    features: ArchitectureFeatures, tmp_path: Path, skill: bool
) -> None:
    designs = trained(drawn(COUNT, 5), 5)
    predictor = AccuracyPredictor(
        features, designs if skill else shuffled(designs, 0), "transfer" if skill else None
    )
    save(predictor, tmp_path / "accuracy.json")
    again = load(tmp_path / "accuracy.json")
    assert again.designs == predictor.designs
    assert again.gate == predictor.gate
    assert again.gate.passes == skill
    if skill:
        cheap = np.array([0.6, 0.7])
        one, other = predictor.predict(drawn(2, 6), cheap), again.predict(drawn(2, 6), cheap)
        assert (one.low == other.low).all()
        assert (one.high == other.high).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "else"}, "no accuracy predictor"),
        ({"version": 99}, "version 99"),
        ({"gate": {}}, "damaged"),
        ({"space": {"name": "toy"}}, "damaged"),
        ({"designs": [{"score": "high"}]}, "damaged"),
        ({"scales": [0.0]}, "damaged"),
    ],
)
def test_a_damaged_file_is_refused(
    skilled: AccuracyPredictor, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = tmp_path / "accuracy.json"
    save(skilled, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=said):
        load(path)


def test_scores_of_a_search_are_means_over_repeats() -> None:
    one, other = drawn(2, 0)
    seen = [
        evaluated(one, "transfer", 0.6),
        evaluated(one, "full", 0.8),
        evaluated(one, "full", 0.9, place=1),
        evaluated(other, "transfer", 0.7),
        evaluated(other, "full", None),
    ]
    (found,) = scored_designs(seen)
    assert found == ScoredDesign(one, pytest.approx(0.85), {"transfer": pytest.approx(0.6)})


def evaluated(design: Architecture, fidelity: str, score: float | None, place: int = 0) -> Seen:
    pair = Pair(design, PLACES[place])
    return Seen(
        Request(pair, fidelity), Evaluation(replace(outcome_of(pair), score=score), training_cost=1)
    )


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    """All designs at the cheap fidelity, all but the last two trained whole."""
    designs = trained(drawn(COUNT + 2, 0), 0)
    cheap = [evaluated(one.architecture, "transfer", one.cheap["transfer"]) for one in designs]
    return cheap + [evaluated(one.architecture, "full", one.score) for one in designs[:-2]]


def test_what_cannot_become_the_best_is_not_trained(
    features: ArchitectureFeatures, seen: list[Seen]
) -> None:
    predictor, goal = predictor_of(features, seen), toy_goal()
    assert predictor.gate.passes
    best = max(
        goal.value(one.request.pair.place, one.evaluation.outcome) for one in seen[COUNT + 2 :]
    )
    wanted = [Request(one.request.pair, "full") for one in seen[: COUNT + 2]]
    kept = worthwhile(wanted, seen, goal, predictor)
    assert 0 < len(kept) < len(wanted)
    for request, one in zip(wanted, seen):
        found = screen(request, seen, goal, predictor)
        cheap = None if predictor.cheap is None else np.array([one.score])
        (high,) = predictor.predict([one.design], cheap).high
        hope = goal.value(request.pair.place, replace(one.evaluation.outcome, score=float(high)))
        assert found.train == (hope > best) == (request in kept)
        assert found.foretold is not None
        assert found.foretold[2] == pytest.approx(high)
    assert worthwhile([Request(wanted[0].pair, "short")], seen, goal, predictor)


def test_without_skill_everything_is_trained(
    features: ArchitectureFeatures, seen: list[Seen]
) -> None:
    for predictor in (
        predictor_of(features, seen[: COUNT + 2 + gates.LEAST_DESIGNS - 1]),
        AccuracyPredictor(features, shuffled(scored_designs(seen), 0)),
    ):
        wanted = [Request(one.request.pair, "full") for one in seen[: COUNT + 2]]
        assert worthwhile(wanted, seen, toy_goal(), predictor) == wanted
        assert predictor.gate.describe() in screen(wanted[0], seen, toy_goal(), predictor).reason


def test_a_pair_nobody_saw_has_no_costs(
    features: ArchitectureFeatures, seen: list[Seen], skilled: AccuracyPredictor
) -> None:
    unseen = Request(Pair(drawn(1, 99)[0], PLACES[0]), "full")
    with pytest.raises(DataError, match="not seen yet"):
        screen(unseen, seen, toy_goal(), skilled)


def test_designs_that_were_really_trained_foretell_each_other(root: Path) -> None:
    """Around MiniLM-L6 on SST-2; docs/benchmarks.md quotes more of it."""
    designs = read_table(root / "benchmarks" / "scored_designs.json")
    assert len({one.architecture for one in designs}) == len(designs) >= 30
    assert all(0.5 <= one.score <= 1 for one in designs)
    assert shared_fidelities(designs) == ["transfer", "calibrated", "short"]
    layer = designs[0].architecture.layers[0]
    around = DesignSpace(
        name="around the seed",
        layer_counts=(2, 3, 4, 5, 6),
        hidden_sizes=(layer.hidden,),
        head_counts=(3, 4, 6, 9, 12),
        head_kinds=("sa_sdp",),
        feed_forward_widths=(256, 384, 576, 768, 1152, 1536),
        feed_forward_depths=(1,),
        head_sizes=(layer.head_size,),
    )
    features = ArchitectureFeatures(around)
    assert AccuracyPredictor(features, designs).gate.passes
    assert not AccuracyPredictor(features, shuffled(designs, 0)).gate.passes


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "edgetran-scored-designs"}'])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(DataError, match="table") as caught:
        read_table(tmp_path / "table.json")
    assert "score_designs.py" in caught.value.hint
