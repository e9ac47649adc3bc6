"""Every metric against a second implementation; every interval against known values."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from edgetran_host.tasks import Row, Task, score
from edgetran_host.tasks.scoring import (
    METRICS,
    PARTS,
    accuracy,
    f1,
    matthews,
    metric_of,
    pearson,
    spearman,
    wilson,
)
from edgetran_protos.errors import DataError
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

Values = NDArray[np.float64]


def pairs(value: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Values, Values]]:
    """Guesses and truths of the same rows."""
    rows = st.lists(st.tuples(value, value), min_size=1, max_size=40)
    return rows.map(lambda found: tuple(np.array(side, float) for side in zip(*found)))


LABELS = pairs(st.integers(0, 1))
NUMBERS = pairs(st.integers(-50, 50).map(lambda n: n / 4))  # ties, and no loss of digits


def task(truth: Sequence[object], labels: tuple[str, ...], metric: str) -> Task:
    rows = tuple(Row("text", None, t if not labels else str(t)) for t in truth)  # type: ignore[arg-type]
    kind = "classification" if labels else "regression"
    return Task("t", kind, labels, False, metric, rows, rows)


class TestSecondImplementation:
    @given(pairs(st.integers(0, 5)))
    def test_accuracy(self, rows: tuple[Values, Values]) -> None:
        guess, truth = rows
        assert accuracy(guess, truth) == pytest.approx(sklearn.metrics.accuracy_score(truth, guess))

    @given(LABELS)
    def test_f1(self, rows: tuple[Values, Values]) -> None:
        guess, truth = rows
        wanted = sklearn.metrics.f1_score(truth, guess, zero_division=0.0)
        assert f1(guess, truth) == pytest.approx(wanted)

    @given(LABELS)
    @pytest.mark.filterwarnings("ignore:A single label was found")
    def test_matthews(self, rows: tuple[Values, Values]) -> None:
        guess, truth = rows
        wanted = sklearn.metrics.matthews_corrcoef(truth, guess)
        assert matthews(guess, truth) == pytest.approx(wanted, abs=1e-12)

    @given(NUMBERS)
    def test_correlations(self, rows: tuple[Values, Values]) -> None:
        guess, truth = rows
        assume(np.ptp(guess) and np.ptp(truth))
        assert pearson(guess, truth) == pytest.approx(
            scipy.stats.pearsonr(guess, truth).statistic, abs=1e-9
        )
        assert spearman(guess, truth) == pytest.approx(
            scipy.stats.spearmanr(guess, truth).statistic, abs=1e-9
        )

    @pytest.mark.parametrize("name", ["matthews", "pearson", "spearman", "f1"])
    def test_a_model_that_says_one_thing_scores_nothing(self, name: str) -> None:
        guess, truth = np.zeros(8), np.array([0.0, 1.0] * 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert METRICS[name](guess, truth) == 0.0


class TestWilson:
    @pytest.mark.parametrize(
        ("hits", "count", "low", "high"),
        [  # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0000, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ],
    )
    def test_published(self, hits: int, count: int, low: float, high: float) -> None:
        assert wilson(hits / count, count) == pytest.approx((low, high), abs=5e-5)

    @given(st.integers(1, 5000), st.floats(0, 1))
    def test_second_implementation(self, count: int, share: float) -> None:
        hits = round(share * count)
        wanted = scipy.stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
        assert wilson(hits / count, count) == pytest.approx((wanted.low, wanted.high), abs=1e-9)

    def test_never_leaves_what_a_share_can_be(self) -> None:
        for count in range(1, 300):
            assert 0.0 <= wilson(0.0, count)[0] < 1e-9
            assert 1 - 1e-9 < wilson(1.0, count)[1] <= 1.0


class TestScore:
    def test_the_largest_logit_names_the_label(self) -> None:
        found = score(
            task(["b", "a", "c"], ("a", "b", "c"), "accuracy"),
            np.array([[0.1, 0.2, -5], [9, 8, 7], [3, 2, 1]], np.float32),
        )
        assert (found.metric, found.value) == ("accuracy", pytest.approx(2 / 3))
        assert (found.low, found.high) == pytest.approx(wilson(2 / 3, 3))

    @pytest.mark.parametrize("metric", sorted(PARTS))
    @pytest.mark.parametrize("seed", [1, 2])
    def test_a_headline_is_the_mean_of_its_parts(self, metric: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        if metric == "pearson_spearman":
            truth = rng.normal(size=30)
            made, outputs = task(truth, (), metric), rng.normal(size=(30, 1)) + truth[:, None]
        else:
            made = task(rng.integers(0, 2, 30), ("0", "1"), metric)
            outputs = rng.normal(size=(30, 2))
        found = score(made, outputs)
        assert set(found.others) == set(PARTS[metric])
        assert found.value == pytest.approx(np.mean(list(found.others.values())))
        assert found.low <= found.value <= found.high
        assert score(made, outputs) == found

    def test_f1_is_of_the_second_label(self) -> None:
        made = task(["yes", "yes", "no", "no"], ("no", "yes"), "accuracy_f1")
        found = score(made, np.array([[0, 1], [1, 0], [1, 0], [1, 0.0]]))
        assert dict(found.others) == pytest.approx({"accuracy": 0.75, "f1": 2 / 3})

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_values_that_are_not_finite_are_refused(self, bad: float) -> None:
        with pytest.raises(DataError, match="not finite") as caught:
            score(task([0, 1], ("0", "1"), "accuracy"), np.array([[0, 1], [bad, 0]]))
        assert caught.value.hint

    @pytest.mark.parametrize("shape", [(2, 1), (3, 2), (2, 3), (2,)])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"\(2, 2\)"):
            score(task([0, 1], ("0", "1"), "accuracy"), np.zeros(shape))


def test_bootstrap_covers_the_truth() -> None:
    """Of 60 draws of 150 rows, about 95 % have the population's value in their interval.

    A guess is right with probability 0.8 whatever the label, and labels are even, so
    that the population's Matthews correlation is 0.8 - 0.2.
    """
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(60):
        truth = rng.integers(0, 2, 150)
        guess = np.where(rng.random(150) < 0.8, truth, 1 - truth)
        found = score(task(truth, ("0", "1"), "matthews"), np.eye(2)[guess])
        assert found.high - found.low < 0.4
        covered += found.low <= 0.6 <= found.high
    assert covered >= 52  # fewer in 1 of 350 sets of draws, were the share 95 %


@pytest.mark.parametrize(
    ("name", "labels", "metric"),
    [
        ("CoLA", 2, "matthews"),
        ("cola", 3, "accuracy"),
        ("MRPC", 2, "accuracy_f1"),
        ("QQP", 2, "accuracy_f1"),
        ("SST-2", 2, "accuracy"),
        ("STS-B", 0, "pearson_spearman"),
        ("anything", 0, "pearson_spearman"),
    ],
)
def test_metric_of(name: str, labels: int, metric: str) -> None:
    assert metric_of(name, labels) == metric
