"""A search's trials in a database: nothing is lost, nobody's study is taken for another's."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.evaluator import Evaluation, Request
from edgetran_host.cosearch.goal import Limits
from edgetran_host.cosearch.history import Asked, History
from edgetran_host.cosearch.pair import Pair
from edgetran_protos.errors import UsageError

from tests.host.cosearch.toy_world import PRODUCT, outcome_of, toy_goal

LIMITS = Limits(latency_s=0.004, energy_j=0.5)
BRIEF = Brief({"task": "toy", "random_seed": 0}, PRODUCT, toy_goal(LIMITS))


def pairs(count: int) -> list[Pair]:
    return PRODUCT.sample(np.random.default_rng(1), count, tied=False)


def evaluation(pair: Pair) -> Evaluation:
    return Evaluation(outcome_of(pair), 0.25, {"score": "assumed"}, {"folder": "trials/1"})


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/search.db"


def test_what_is_kept_comes_back(url: str) -> None:
    history = History.create(url, "toy", BRIEF)
    requests = [Request(pair, "full", seed) for seed, pair in enumerate(pairs(6))]
    numbers = [history.ask(one, Asked("me", turn)) for turn, one in enumerate(requests)]
    for number, request in list(zip(numbers, requests))[:4]:
        history.tell(number, evaluation(request.pair))
    history.fail(numbers[4], "the board is gone")
    again = History.open(url)
    assert again.brief == BRIEF
    assert again.entries() == history.entries()
    found = again.entries()
    assert [one.request for one in found] == requests
    assert [one.asked.turn for one in found] == list(range(6))
    assert [one.evaluation for one in found[:4]] == [evaluation(one.pair) for one in requests[:4]]
    assert found[4].error == "the board is gone"
    assert not found[4].pending
    assert [one.pending for one in found] == [False] * 5 + [True]


def test_people_can_read_it(url: str) -> None:
    history = History.create(url, "toy", BRIEF)
    for pair in pairs(6):
        history.tell(history.ask(Request(pair), Asked("me", 0)), evaluation(pair))
    study = optuna.load_study(study_name="toy", storage=url)
    assert study.metric_names == ["objective"]
    for trial, pair in zip(study.trials, pairs(6), strict=True):
        outcome = outcome_of(pair)
        assert trial.params["board"] == pair.place.id
        assert trial.params["layers"] == len(pair.architecture.layers)
        assert math.isclose(sum(trial.params[kind] for kind in PRODUCT.space.head_kinds), 1)
        assert trial.value == BRIEF.goal.value(pair.place, outcome)
        assert trial.constraints["latency_s"] == pytest.approx(math.log(outcome.latency_s / 0.004))
    kept = [one for one in pairs(6) if BRIEF.goal.keeps(outcome_of(one))]
    assert 0 < len(kept) < 12
    best = max(kept, key=lambda pair: BRIEF.goal.value(pair.place, outcome_of(pair)))
    assert study.best_trial.number == pairs(6).index(best)


def test_a_front_keeps_the_figures_that_every_board_gives(url: str) -> None:
    front = replace(BRIEF, whole_front=True)
    history = History.create(url, "front", front)
    (pair,) = pairs(1)
    history.tell(history.ask(Request(pair), Asked("me", 0)), evaluation(pair))
    study = optuna.load_study(study_name="front", storage=url)
    assert study.metric_names == ["score", "latency_s"]  # one place has no sensor
    assert study.trials[0].values == [outcome_of(pair).score, outcome_of(pair).latency_s]


def test_ruled_out_by_costs_alone(url: str) -> None:
    history = History.create(url, "toy", BRIEF)
    (pair,) = pairs(1)
    untrained = Evaluation(replace(outcome_of(pair), score=None), 0.0)
    history.tell(history.ask(Request(pair), Asked("me", 0)), untrained)
    (entry,) = history.entries()
    assert entry.evaluation == untrained
    assert not entry.pending
    (trial,) = optuna.load_study(study_name="toy", storage=url).trials
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert set(trial.constraints) == {"latency_s", "energy_j"}


def test_what_was_paid_for_counts_when_the_process_ended_before_the_last_word(url: str) -> None:
    history = History.create(url, "toy", BRIEF)
    one, other = pairs(2)
    number = history.ask(Request(one), Asked("me", 0))
    foreign = history.ask(Request(other), Asked("another", 0))
    study = optuna.load_study(study_name="toy", storage=url)
    twin = History.create(url, "twin", BRIEF)  # what a whole trial holds
    twin.tell(twin.ask(Request(one), Asked("me", 0)), evaluation(one))
    whole = optuna.load_study(study_name="twin", storage=url).trials[0]
    for at in (number, foreign):
        half = optuna.trial.Trial(study, study.trials[at]._trial_id)
        half.set_user_attr("evaluation", whole.user_attrs["evaluation"])
    assert not any(entry.pending for entry in history.entries())
    history.mend("me")
    states = [trial.state for trial in study.trials]
    assert states == [optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.RUNNING]
    assert study.trials[0].values == whole.values
    assert study.trials[0].constraints == whole.constraints


def test_another_request_under_the_same_name(url: str) -> None:
    History.create(url, "toy", BRIEF)
    other = replace(BRIEF, request={"task": "toy", "random_seed": 1})
    with pytest.raises(UsageError, match="another search under the name toy"):
        History.create(url, "toy", other)
    with pytest.raises(UsageError, match="another search"):
        History.create(url, "toy", replace(other, whole_front=True))
    History.create(url, "other", other)
    with pytest.raises(UsageError, match="does not hold one search") as caught:
        History.open(url)
    assert "other" in caught.value.hint
    assert "toy" in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "search.db",
        "nonsense://x",
        "sqlite:////no/such/folder/x.db",
        "postgresql://127.0.0.1:1/x",
    ],
)
def test_storage_that_cannot_be_used(wrong: str) -> None:
    with pytest.raises(UsageError, match="storage") as caught:
        History.create(wrong, "toy", BRIEF)
    assert caught.value.hint


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "search.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(UsageError, match="does not answer"):
        History.create(f"sqlite:///{tmp_path}/search.db", "toy", BRIEF)


TELLER = """
import sys
from edgetran_host.cosearch.evaluator import Evaluation, Request
from edgetran_host.cosearch.history import Asked, History
sys.path.insert(0, sys.argv[2])
from tests.host.cosearch.test_history import evaluation, pairs
history = History.open(sys.argv[1])
for turn, pair in enumerate(pairs(6)):
    history.tell(history.ask(Request(pair, seed=turn), Asked(sys.argv[3], turn)), evaluation(pair))
"""


@pytest.mark.slow  # processes that import Optuna
def test_several_processes_tell_into_one(url: str) -> None:
    History.create(url, "toy", BRIEF)
    root = str(Path(__file__).resolve().parents[3])
    started = [
        subprocess.Popen([sys.executable, "-c", TELLER, url, root, worker])
        for worker in ("one", "other", "third")
    ]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    found = History.open(url).entries()
    assert sorted(one.number for one in found) == list(range(18))
    for worker in ("one", "other", "third"):
        own = [one for one in found if one.asked.worker == worker]
        assert [one.request.pair for one in own] == pairs(6)
        assert all(one.evaluation == evaluation(one.request.pair) for one in own)
