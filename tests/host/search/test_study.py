"""The search on disk: what it suggests, what it survives, and what it is worth."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from edgetran_host.job.config import Budget
from edgetran_host.search.objective import Cost, excess, objective, within
from edgetran_host.search.seeded_space import Design, SeededSpace
from edgetran_host.search.study import TRIALS_A_STEP, SeededStudy, Trial
from edgetran_protos.errors import UsageError

SPACE = SeededSpace(
    layers=(2, 3, 4, 5, 6),
    heads=(4, 6, 9, 12),
    feed_forward=(384, 576, 768, 1152, 1536),
    vocabulary=(4000, 6000, 8000, 12000, None),
    precision=("int8", "fp32"),
)
TINY = SeededSpace((1,), (1, 2), (64,), (4000, None), ("int8", "fp32"))
SCRIPT = Path(__file__).with_name("killed_search.py")


def cost_of(design: Design) -> Cost:
    """Roughly what a small board pays: work for time, bytes for size."""
    weights = design.layers * (4 * 384 * 32 * design.heads + 2 * 384 * design.feed_forward)
    pieces = design.vocabulary or 30522
    small = design.precision == "int8"
    latency_s = (weights * 7.5e-10 + 6e-4 + 1e-4 * design.layers) * (0.42 if small else 1)
    size_bytes = (pieces * 384 + weights) * (1 if small else 4) + 20 * pieces
    return Cost(latency_s, latency_s * 5, 5.0, size_bytes, True)


def score_of(design: Design) -> float:
    """Falls gently with every cut, and faster where cuts add up."""
    lost = 0.35 * (6 - design.layers) + 0.4 * max(0, 4 - design.layers) ** 2
    lost += 2.2 * (1 - design.heads / 12) ** 1.3 + 2 * (1 - design.feed_forward / 1536) ** 1.5
    lost += {4000: 0.9, 6000: 0.6, 8000: 0.4, 12000: 0.2}.get(design.vocabulary or 0, 0)
    return 0.9 - 0.01 * lost


SEED = cost_of(SPACE.seed_point())
LIMITS = Budget(max_latency_s=SEED.latency_s / 2, max_size_bytes=SEED.size_bytes / 6)


def evaluate(design: Design) -> tuple[Trial, tuple[float, ...]]:
    """As the job does it: what breaks a limit is not trained."""
    cost = cost_of(design)
    over = excess(cost, LIMITS)
    if not within(cost, LIMITS):
        return Trial(design, cost, None, -100 - sum(p for p in over if p > 0), False), over
    score = score_of(design)
    return Trial(design, cost, score, objective(score, 0.9, cost, SEED), True), over


def step(study: SeededStudy) -> Design:
    suggested = study.suggest()
    assert suggested is not None
    number, design = suggested
    study.update(number, *evaluate(design))
    return design


def fewer(design: Design, pieces: int) -> Design:
    return dataclasses.replace(design, vocabulary=pieces)


def steps(
    path: Path,
    count: int,
    seed: int = 0,
    space: SeededSpace = SPACE,
    prefer: str = "balance",
) -> list[Design]:
    study = SeededStudy(space, path, seed, prefer)
    return [step(study) for _ in range(count)]


class TestSuggesting:
    def test_the_starting_points_come_first(self, tmp_path: Path) -> None:
        designs = steps(tmp_path / "study.db", 3)
        assert tuple(designs) == SPACE.starting_points()
        others = steps(tmp_path / "other.db", 3, prefer="accuracy")
        assert tuple(others) == SPACE.starting_points("accuracy")

    def test_a_starting_point_too_heavy_comes_again_lighter(self, tmp_path: Path) -> None:
        """Until it fits: with fewer pieces for bytes alone, else with narrower layers."""
        first, second, third = SPACE.starting_points()
        slim = dataclasses.replace(first, feed_forward=1152)
        over = {
            first: (0.2, 0, 0.2, 0),
            slim: (0, 0, 0.1, 0),
            third: (0, 0, 0.2, 0),
            fewer(third, 6000): (0, 0, 0.1, 0),
        }
        study, tried = SeededStudy(SPACE, tmp_path / "study.db", 0), []
        for _ in range(8):
            suggested = study.suggest()
            assert suggested is not None
            number, design = suggested
            trial, _ = evaluate(design)
            if excess := over.get(design):
                trial = dataclasses.replace(trial, score=None, value=-101.0, feasible=False)
            study.update(number, trial, excess or (0, 0, 0, 0))
            tried.append(design)
        lighter = [slim, fewer(slim, 6000), fewer(third, 6000), fewer(third, 4000)]
        assert tried[:7] == [first, second, third, *lighter]
        assert tried[7] not in tried[:7]

    def test_a_proposal_lies_near_the_best(self, tmp_path: Path) -> None:
        """Within a step at first, the farther the more is known."""
        study, feasible = SeededStudy(SPACE, tmp_path / "study.db", 0), 0
        for count in range(12):
            best = study.best()
            design = step(study)
            if count >= len(SPACE.starting_points()):
                assert best is not None
                assert SPACE.distance(best.design, design) <= 1 + feasible // TRIALS_A_STEP
            feasible = sum(trial.feasible for trial in study.trials())
        assert feasible > TRIALS_A_STEP

    def test_no_design_comes_twice(self, tmp_path: Path) -> None:
        designs = steps(tmp_path / "study.db", 9)
        assert len(set(designs)) == 9
        assert set(designs) <= set(SPACE.designs())

    @pytest.mark.parametrize("seed", [0, 1, -7])
    def test_a_tiny_space_is_used_up_and_then_over(self, tmp_path: Path, seed: int) -> None:
        study = SeededStudy(TINY, tmp_path / "study.db", seed)
        designs = {step(study) for _ in range(TINY.size)}
        assert designs == set(TINY.designs())
        assert study.suggest() is None
        assert SeededStudy(TINY, tmp_path / "study.db", seed).suggest() is None

    def test_a_space_of_one(self, tmp_path: Path) -> None:
        only = SeededSpace((1,), (1,), (64,), (None,), ("int8",))
        assert steps(tmp_path / "study.db", 1, space=only) == [Design(1, 1, 64, None, "int8")]
        assert SeededStudy(only, tmp_path / "study.db", 0).suggest() is None

    def test_the_seed_decides(self, tmp_path: Path) -> None:
        one, same, other = (
            steps(tmp_path / f"{at}.db", 5, seed) for at, seed in enumerate((3, 3, 4))
        )
        assert one == same
        assert one != other


class TestRemembering:
    def test_trials_come_back_as_they_were_told(self, tmp_path: Path) -> None:
        designs = steps(tmp_path / "study.db", 4)
        found = SeededStudy(SPACE, tmp_path / "study.db", 0).trials()
        assert found == [evaluate(design)[0] for design in designs]

    def test_the_best_keeps_every_limit_and_is_trained(self, tmp_path: Path) -> None:
        study = SeededStudy(TINY, tmp_path / "study.db", 0)
        assert study.best() is None
        told = [(1.0, True, 0.9), (99.0, False, 0.9), (2.0, True, 0.8), (50.0, True, None)]
        for value, feasible, score in told:
            suggested = study.suggest()
            assert suggested is not None
            number, design = suggested
            trial = Trial(design, cost_of(design), score, value, feasible)
            study.update(number, trial, (0.0 if feasible else 0.1, 0, 0, 0))
        best = study.best()
        assert best is not None
        assert best.value == 2.0

    def test_where_nothing_keeps_the_limits_nothing_wins(self, tmp_path: Path) -> None:
        """The first ones, ever narrower, and the smallest are tried; then there is no hope."""
        study = SeededStudy(SPACE, tmp_path / "study.db", 0)
        tried = []
        while (suggested := study.suggest()) is not None:
            number, design = suggested
            tried.append(design)
            trial = Trial(design, cost_of(design), None, -101.0, False)
            study.update(number, trial, (1.0, 0, 0, 0))
        starts, smallest = SPACE.starting_points(), SPACE.smallest_points()
        narrower = [
            dataclasses.replace(start, feed_forward=width)
            for start in starts
            for width in reversed(SPACE.feed_forward)
            if width < start.feed_forward
        ]
        expected = [*starts, *narrower, *smallest]
        assert tried == [one for at, one in enumerate(expected) if one not in expected[:at]]
        assert study.best() is None
        assert SeededStudy(SPACE, tmp_path / "study.db", 0).suggest() is None

    def test_one_design_within_the_limits_gives_hope(self, tmp_path: Path) -> None:
        study = SeededStudy(SPACE, tmp_path / "study.db", 0)
        for _ in range(7):
            suggested = study.suggest()
            assert suggested is not None
            number, design = suggested
            kept = design == SPACE.smallest_points()[0]
            trial = Trial(design, cost_of(design), 0.5 if kept else None, -9.0, kept)
            study.update(number, trial, (-0.1 if kept else 0.1, 0, 0, 0))
        assert len({trial.design for trial in study.trials()}) == 7

    def test_what_is_refused_does_not_come_again(self, tmp_path: Path) -> None:
        path = tmp_path / "study.db"
        study = SeededStudy(TINY, path, 0)
        suggested = study.suggest()
        assert suggested is not None
        number, refused = suggested
        study.refuse(number, "its graph is broken")
        study = SeededStudy(TINY, path, 0)
        assert study.refused() == {refused: "its graph is broken"}
        assert study.trials() == []
        rest = {step(study) for _ in range(TINY.size - 1)}
        assert rest == set(TINY.designs()) - {refused}
        assert study.suggest() is None

    def test_a_search_ends_in_the_space_it_began_in(self, tmp_path: Path) -> None:
        """A later version may offer other choices; what is paid for counts."""
        path = tmp_path / "study.db"
        first = steps(path, 3)
        later = dataclasses.replace(
            SPACE, vocabulary=(5000, None), heads=(4, 12), table=(96, 192, None)
        )
        study = SeededStudy(later, path, 0, "accuracy")
        assert [trial.design for trial in study.trials()] == first
        assert {step(study) for _ in range(4)} <= set(SPACE.designs()) - set(first)

    @pytest.mark.parametrize("name", ["a b", "100%", "a%20b", "why?", "#1", "größe", "a&b=c"])
    def test_any_path_will_do(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        SeededStudy(TINY, folder / "study.db", 0)
        assert [file.name for file in folder.iterdir()] == ["study.db"]
        assert [file.name for file in tmp_path.iterdir()] == [name]

    def test_a_damaged_file_is_said(self, tmp_path: Path) -> None:
        file = tmp_path / "study.db"
        steps(file, 1)
        file.write_bytes(file.read_bytes()[:5000])
        with pytest.raises(UsageError, match="no readable study") as caught:
            SeededStudy(SPACE, file, 0)
        assert "remove it" in caught.value.hint


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Design]:
    """What an uninterrupted search suggests."""
    return steps(tmp_path_factory.mktemp("whole") / "study.db", 6)


class TestInterrupted:
    def test_before_each_evaluation(self, tmp_path: Path, whole: list[Design]) -> None:
        found = []
        for _ in range(6):
            SeededStudy(SPACE, tmp_path / "study.db", 0).suggest()  # and never told
            found.append(step(SeededStudy(SPACE, tmp_path / "study.db", 0)))
        assert found == whole

    @staticmethod
    def killed(path: Path, when: str) -> Design | None:
        """A process that kills itself within one evaluation; the design it was working on."""
        ended = subprocess.run(
            [sys.executable, str(SCRIPT), str(path), when, json.dumps(asdict(SPACE))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        return Design(**json.loads(ended.stdout)) if ended.stdout else None

    @pytest.mark.parametrize("done", [0, 4])
    def test_killed_while_evaluating(self, tmp_path: Path, whole: list[Design], done: int) -> None:
        path = tmp_path / "study.db"
        first = steps(path, done)
        assert self.killed(path, "evaluating") == whole[done]
        study = SeededStudy(SPACE, path, 12345 if done else 0)  # what was begun comes first
        suggested = study.suggest()
        assert suggested is not None
        assert suggested[1] == whole[done]
        study = SeededStudy(SPACE, path, 0)
        assert [trial.design for trial in study.trials()] == first
        assert [*first, *(step(study) for _ in range(6 - done))] == whole

    def test_killed_while_asking(self, tmp_path: Path, whole: list[Design]) -> None:
        path = tmp_path / "study.db"
        steps(path, 1)
        assert self.killed(path, "asking") is None
        study = SeededStudy(SPACE, path, 0)
        assert [step(study) for _ in range(5)] == whole[1:]

    def test_killed_while_telling_loses_nothing(self, tmp_path: Path, whole: list[Design]) -> None:
        """The evaluation is paid for: its result counts, though its trial was never closed."""
        path = tmp_path / "study.db"
        steps(path, 3)
        design = self.killed(path, "telling")
        assert design == whole[3]
        study = SeededStudy(SPACE, path, 0)
        cost = Cost(0.5, None, None, 1e6, True)
        assert study.trials()[3:] == [Trial(design, cost, 0.5, -1.0, True)]
        suggested = study.suggest()
        assert suggested is not None
        assert suggested[1] not in {trial.design for trial in study.trials()}


def regret(designs: list[Design]) -> float:
    """How far the best of these stays below the best there is, in points."""
    return best_of(list(SPACE.designs())) - best_of(designs)


def best_of(designs: list[Design]) -> float:
    trials = [evaluate(design)[0] for design in designs]
    return max((trial.value for trial in trials if trial.feasible), default=-math.inf)


def test_beats_random_search(tmp_path: Path) -> None:
    """Ten evaluations each; a random search gets four hundred tries at it."""
    searched = [regret(steps(tmp_path / f"{seed}.db", 10, seed)) for seed in range(3)]
    everything = list(SPACE.designs())
    drawn = sorted(regret(random.Random(seed).sample(everything, 10)) for seed in range(400))
    assert sum(searched) / len(searched) < drawn[len(drawn) // 4]
    assert max(searched) < drawn[len(drawn) // 2]


def test_steers_clear_of_broken_limits(tmp_path: Path) -> None:
    """Most designs break a limit here; few of those suggested do."""

    def share(designs: list[Design]) -> float:
        return sum(not within(cost_of(design), LIMITS) for design in designs) / len(designs)

    suggested = steps(tmp_path / "study.db", 12)[3:]
    assert share(list(SPACE.designs())) > 0.5
    assert share(suggested) < 0.35
