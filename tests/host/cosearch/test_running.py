"""The loop of a search: the same result however it was interrupted, budgets, failures."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgetran_host.cosearch.blocking import blocked
from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.evaluator import Evaluation, Evaluator, Request
from edgetran_host.cosearch.finalists import FINALIST, Repeats, confirm, rounds, spread
from edgetran_host.cosearch.front import hypervolume
from edgetran_host.cosearch.goal import Limits
from edgetran_host.cosearch.history import Asked, Entry, History
from edgetran_host.cosearch.methods import METHODS, Choice, make_designer
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.outcome import Outcome, Trial
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.plain_methods import RandomSearch
from edgetran_host.cosearch.running import FAILURES, Conduct, Running
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.cosearch.standing import Budget, leading_front, outcome_of, ranked, value_of
from edgetran_protos.errors import BoardError, DataError, UsageError

from tests.host.cosearch.toy_world import PRODUCT, toy_goal
from tests.host.cosearch.toy_world import outcome_of as truth

BRIEF = Brief({"task": "toy"}, PRODUCT, toy_goal(Limits(latency_s=0.02)))


class ToyEvaluator(Evaluator):
    """What the toy world gives, with noise; fails or is interrupted at certain evaluations."""

    def __init__(self, failing: tuple[int, ...] = (), cut_after: int | None = None) -> None:
        self.asked: list[Request] = []
        self._failing = failing
        self._cut_after = cut_after
        self._alone = threading.Lock()

    @property
    def product(self) -> ProductSpace:
        return PRODUCT

    def references(self) -> Mapping[Place, Outcome]:
        return BRIEF.goal.references

    def evaluate(self, request: Request) -> Evaluation:
        with self._alone:
            at = len(self.asked)
            self.asked.append(request)
        if self._cut_after is not None and at >= self._cut_after:
            raise KeyboardInterrupt
        if at in self._failing:
            raise DataError("the training diverged")
        found = truth(request.pair)
        rng = np.random.default_rng([request.seed, int(found.latency_s * 1e9)])
        assert found.score is not None
        return Evaluation(
            replace(found, score=found.score + 0.01 * rng.standard_normal()),
            0.5,
            {"score": "assumed"},
        )


def history_in(folder: Path, brief: Brief = BRIEF) -> History:
    return History.create(f"sqlite:///{folder}/search.db", "toy", brief)


def run(
    history: History, evaluator: Evaluator, trials: int, parallel: int = 1, method: str = "local"
) -> str:
    designer = make_designer(Choice(method), history.brief)
    conduct = Conduct("me", parallel)
    return Running(evaluator, designer, history, Budget(trials), conduct).run()


def told(history: History) -> list[tuple[str, float]]:
    return [(one.request.pair.id, value_of(history.brief, one)) for one in history.entries()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A search that nobody interrupted."""
    history = history_in(tmp_path_factory.mktemp("whole"))
    assert run(history, ToyEvaluator(), 16, parallel=3) == "evaluations"
    return history


def test_each_pair_is_tried_once_and_what_was_seen_is_used(whole: History) -> None:
    entries = whole.entries()
    assert len({one.request.pair.id for one in entries}) == len(entries) == 16
    assert all(PRODUCT.contains(one.request.pair) for one in entries)
    assert [one.asked.turn for one in entries] == list(range(16))
    best = ranked(whole.brief, entries)
    assert max(best, key=lambda one: value_of(whole.brief, one)) == best[0]
    assert best[0].number >= 10  # steps from the best seen, not one of the random starts


@pytest.mark.parametrize("cut", [1, 7, 13])
def test_an_interrupted_search_ends_as_if_it_had_not_been(
    tmp_path: Path, whole: History, cut: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(history_in(tmp_path), ToyEvaluator(cut_after=cut), 16, parallel=3)
    again = ToyEvaluator()
    history = history_in(tmp_path)
    assert run(history, again, 16, parallel=3) == "evaluations"
    assert told(history) == told(whole)
    assert 16 - cut - 3 <= len(again.asked) <= 16 - cut + 3  # what was paid for stays paid


def test_a_larger_budget_continues(tmp_path: Path, whole: History) -> None:
    run(history_in(tmp_path), ToyEvaluator(), 10, parallel=3)
    history = history_in(tmp_path)
    assert run(history, ToyEvaluator(), 16, parallel=3) == "evaluations"
    assert len(history.entries()) == 16
    assert told(history)[:10] == told(whole)[:10]


def test_a_designer_s_own_models_say_what_is_trained_longer(tmp_path: Path) -> None:
    """Here they are sure of the first pair, whatever it scored."""

    class Sure(RandomSearch):
        def draws(self, pairs: Sequence[Pair]) -> np.ndarray:
            return np.repeat(-np.arange(len(pairs))[None], 8, axis=0)

    history = history_in(tmp_path)
    conduct = Conduct("me", fidelity="transfer", promote=True)
    designer = Sure(PRODUCT, 3)
    Running(ToyEvaluator(), designer, history, Budget(6), conduct).run()
    asked = [one.request for one in history.entries()]
    assert [one.fidelity for one in asked] == ["transfer", "short", "full"] + 3 * ["transfer"]
    assert asked[0].pair == asked[1].pair == asked[2].pair


def test_a_pair_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    evaluator, history = ToyEvaluator(failing=(2, 5, 6)), history_in(tmp_path)
    run(history, evaluator, 12)
    failed = [one for one in history.entries() if one.error]
    assert [one.number for one in failed] == [2, 5, 6]
    assert failed[0].error == "DataError: the training diverged"
    assert len({one.pair.id for one in evaluator.asked}) == 12


def test_when_everything_fails_it_stops(tmp_path: Path) -> None:
    history = history_in(tmp_path)
    with pytest.raises(BoardError, match=f"{FAILURES} evaluations in a row failed") as caught:
        run(history, ToyEvaluator(failing=tuple(range(99))), 60)
    assert "diverged" in str(caught.value)
    assert len(history.entries()) == FAILURES
    assert run(history, ToyEvaluator(), 8) == "evaluations"  # mended: the old ones do not count


def test_budgets_of_trainings_and_time(tmp_path: Path) -> None:
    def stops(name: str, budget: Budget, elapsed_s: float = 0.0) -> tuple[str, int]:
        (tmp_path / name).mkdir()
        history = history_in(tmp_path / name)
        designer = make_designer(Choice("random"), BRIEF)
        running = Running(
            ToyEvaluator(), designer, history, budget, Conduct("me"), elapsed_s=elapsed_s
        )
        return running.run(), len(history.entries())

    assert stops("trainings", Budget(50, trainings=2.0)) == ("trainings", 4)
    assert stops("time", Budget(50, seconds=100), elapsed_s=101) == ("time", 0)


def test_other_workers_trials_are_heard(tmp_path: Path, whole: History) -> None:
    history = history_in(tmp_path)
    for turn, one in enumerate(whole.entries()[:12]):
        number = history.ask(one.request, Asked("another", turn))
        assert one.evaluation is not None
        history.tell(number, one.evaluation)
    evaluator = ToyEvaluator()
    assert run(history, evaluator, 15) == "evaluations"
    assert len(evaluator.asked) == 3
    best = ranked(BRIEF, whole.entries()[:12])[0].request.pair.architecture
    moved = evaluator.asked[0].pair.architecture
    assert len(moved.layers) in {len(best.layers) - 2, len(best.layers), len(best.layers) + 2}


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("boshcode", "legacy")])
def test_methods_stay_in_the_space_and_follow_from_the_trials(name: str) -> None:
    def suggested() -> list[Pair]:
        designer = make_designer(Choice(name, random_seed=3), BRIEF)
        found = []
        for _ in range(4):
            designer = make_designer(Choice(name, random_seed=3), BRIEF)  # as after a kill
            for pair in found:
                designer.update([Trial(pair, truth(pair))])
            found += designer.suggest(1)
        return found

    pairs = suggested()
    assert all(map(PRODUCT.contains, pairs))
    assert len(set(pairs)) == len(pairs)
    assert suggested() == pairs


def test_wrong_methods() -> None:
    with pytest.raises(UsageError, match="boshcod") as caught:
        make_designer(Choice("boshcod"), BRIEF)
    assert "did you mean 'boshcode'" in caught.value.hint
    with pytest.raises(UsageError, match="does not explore"):
        make_designer(Choice("local", alpha=0.2), BRIEF)


def test_finalists_are_evaluated_anew_once(tmp_path: Path, whole: History) -> None:
    history = history_in(tmp_path)
    run(history, ToyEvaluator(), 8)
    entries = history.entries()
    (chosen, *_) = rounds(BRIEF, entries, 2)
    assert chosen == ranked(BRIEF, entries)[:2]

    def again(evaluator: ToyEvaluator) -> list[float]:
        repeats = Repeats(2, seeds=3)
        found = confirm(evaluator, history, chosen, repeats, "me", 2, lambda _: None)
        for one in found:
            scores = [outcome_of(entry).score for entry in one.again]
            assert len(scores) == len(set(scores)) == 3
            assert outcome_of(one.first).score not in scores
            assert one.outcome.score == pytest.approx(np.mean(scores))
            assert one.outcome.latency_s == pytest.approx(outcome_of(one.first).latency_s)
        return [one.value for one in found]

    first, second = ToyEvaluator(), ToyEvaluator()
    assert again(first) == again(second)
    assert (len(first.asked), len(second.asked)) == (6, 0)
    assert sum(one.asked.role == FINALIST for one in history.entries()) == 6


def test_a_front_is_what_no_other_beats_and_its_spread_covers_the_most(whole: History) -> None:
    entries = whole.entries()
    leaders = leading_front(BRIEF, entries)

    def figures(one: Entry) -> tuple[float | None, ...]:
        found = outcome_of(one)
        assert found.score is not None
        return (-found.score, found.latency_s, found.energy_j, found.peak_power_w)

    def beats(one: Entry, other: Entry) -> bool:
        """Only where both boards give the same figures: one has no sensor."""
        pairs = list(zip(figures(one), figures(other)))
        if any((x is None) != (y is None) for x, y in pairs):
            return False
        known = [(x, y) for x, y in pairs if x is not None and y is not None]
        return all(x <= y for x, y in known) and any(x < y for x, y in known)

    known = ranked(BRIEF, entries)
    assert leaders == [one for one in known if not any(beats(other, one) for other in known)]
    points = np.random.default_rng(0).random((12, 2))
    (best,) = spread(points, 1)
    volumes = [hypervolume(points[[at]], points.max(axis=0) + 0.2) for at in range(12)]
    assert volumes[best] > np.median(volumes)
    assert len(set(spread(points, 5))) == 5


def test_what_blocks_a_search_and_the_nearest_point(tmp_path: Path) -> None:
    limits = Limits(latency_s=1e-3, size_bytes=8e6)
    brief = replace(BRIEF, goal=toy_goal(limits))
    history = history_in(tmp_path, brief)
    run(history, ToyEvaluator(), 12, method="random")
    entries = history.entries()
    found = blocked(brief, entries)
    assert found is not None
    outcomes = [outcome_of(one) for one in entries]
    for block in found.blocks:
        values = [getattr(one, block.cost) for one in outcomes]
        assert block.broken == sum(value > block.limit for value in values)
        assert block.nearest == min(values)
        relaxed = replace(limits, **{block.cost: block.enough})
        if block.enough is None:
            relaxed = replace(limits, **{block.cost: None})
        free = [one for one in outcomes if toy_goal(relaxed).keeps(one)]
        assert bool(free) == (block.enough is not None)
    loosened = replace(limits, **found.needed)
    assert toy_goal(loosened).keeps(outcome_of(found.nearest))
    assert blocked(BRIEF, [one for one in entries if BRIEF.goal.keeps(outcome_of(one))]) is None


@pytest.fixture
def oracle(root: Path, tmp_path: Path) -> Path:
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        import make_oracles
    finally:
        sys.path.pop(0)
    made: Oracle = make_oracles.oracle_of(make_oracles.friendly())
    made.save(tmp_path / "toy.npz")
    return tmp_path / "toy.npz"


@pytest.mark.slow  # whole commands, killed
def test_killed_for_real_again_and_again(oracle: Path, tmp_path: Path) -> None:
    """kill -9 of `edgetran search`: the same command ends with the same result."""

    def command(run: str) -> list[str]:
        return [
            *(sys.executable, "-m", "edgetran_host.cli.main", "search"),
            *("--oracle", str(oracle), "--target", "nano,rpi4", "--method", "boshcode"),
            *("--trials", "16", "--parallel", "2", "--run", str(tmp_path / run), "--json"),
        ]

    subprocess.run(command("whole"), check=True, capture_output=True, timeout=250)
    for trials in (3, 11, 14):
        process = subprocess.Popen(command("cut"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line).get("done", 0) >= trials:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    subprocess.run(command("cut"), check=True, capture_output=True, timeout=250)
    results = [
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "cut")
    ]
    for result in results:
        del result["run"], result["elapsed_s"]
    assert results[0] == results[1]


def test_a_board_without_a_sensor_takes_no_figure_from_the_others(tmp_path: Path) -> None:
    history = history_in(tmp_path, BRIEF)
    run(history, ToyEvaluator(), 12, method="random")
    entries = history.entries()
    with_sensor = [one for one in entries if outcome_of(one).energy_j is not None]
    leaders = leading_front(BRIEF, entries)
    alone = leading_front(BRIEF, with_sensor)
    assert [one for one in leaders if one in with_sensor] == alone
    assert len(leaders) > len(alone) > 0
