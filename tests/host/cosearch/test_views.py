"""What people see of a search: the same numbers as its history holds, from a real study on disk."""

from __future__ import annotations

import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from edgetran_host.cli.runs import runs
from edgetran_host.cli.search_view import LiveView
from edgetran_host.cli.show_explanation import show_explanation
from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.evaluator import Evaluation, Request
from edgetran_host.cosearch.figures import FORETOLD_NOTE, figure
from edgetran_host.cosearch.goal import COSTS, Limits
from edgetran_host.cosearch.history import Asked, Entry, History
from edgetran_host.cosearch.layer_features import exact_terms
from edgetran_host.cosearch.moves import step
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.cosearch.standing import SEARCH, Budget, Standing, value_of
from edgetran_host.cosearch.views.differences import NO_DIFFERENCE, differences, nearest
from edgetran_host.cosearch.views.explaining import Explanation, explain
from edgetran_host.cosearch.views.finding import find_search, find_searches
from edgetran_host.cosearch.views.heading import heading
from edgetran_host.cosearch.views.importance import exchanged, importances
from edgetran_host.cosearch.views.layer_costs import layer_costs, split_terms
from edgetran_host.cosearch.views.one_step import directions
from edgetran_host.cosearch.views.page import write_search_page
from edgetran_host.cosearch.views.progress import progress
from edgetran_host.cosearch.views.searched import Searched, read_search
from edgetran_host.space.design_space import DesignSpace
from edgetran_protos.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.host.cosearch.toy_world import PLACES, PRODUCT, outcome_of, toy_goal

LIMITS = Limits(latency_s=0.05)
REQUEST = {"oracle": None, "data": "toy", "targets": ["rpi4"], "effort": "quick"}
FLEXIBERT = ProductSpace(DesignSpace.flexibert2(), PLACES)
COUNT = 18
FAILED = 5


def pairs_of(seed: int, count: int) -> list[Pair]:
    rng = np.random.default_rng(seed)
    half = count // 2
    return PRODUCT.sample(rng, half, tied=True) + PRODUCT.sample(rng, count - half, tied=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search under way: one trial failed, the last one has not ended."""
    path = tmp_path_factory.mktemp("runs") / "search-toy"
    path.mkdir()
    kept = {"request": REQUEST, "study": "toy", "storage": None}
    (path / "search.json").write_text(json.dumps(kept))
    brief = Brief(REQUEST, PRODUCT, toy_goal(LIMITS))
    history = History.create(f"sqlite:///{path}/search.db", "toy", brief)
    for turn, pair in enumerate(pairs_of(4, COUNT)):
        reason = "one of the first, before any model" if turn < 8 else "expected improvement"
        number = history.ask(Request(pair, "full"), Asked("me", turn, reason=reason))
        if turn == FAILED:
            history.fail(number, "the board is gone")
        elif turn < COUNT - 1:
            sources = {"score": "measured", "latency_s": "modelled"}
            outcome = outcome_of(pair)
            ends = [0.9 * outcome.latency_s, 1.2 * outcome.latency_s]
            details = {"cost": {"latency_s_interval": ends, "energy_j_interval": None}}
            history.tell(number, Evaluation(outcome, 0.5, sources, details))
    return path


@pytest.fixture(scope="module")
def searched(run: Path) -> Searched:
    return read_search(run)


@pytest.fixture(scope="module")
def explained(searched: Searched) -> Explanation:
    assert searched.chosen is not None
    return explain(searched, searched.chosen)


def test_the_best_that_keeps_the_limits_is_chosen(searched: Searched) -> None:
    goal = searched.brief.goal
    tried = [pair for turn, pair in enumerate(pairs_of(4, COUNT)[:-1]) if turn != FAILED]
    kept = [pair for pair in tried if goal.keeps(outcome_of(pair))]
    assert 0 < len(kept) < len(tried)
    best = max(kept, key=lambda pair: goal.value(pair.place, outcome_of(pair)))
    assert searched.chosen is not None
    assert searched.chosen.request.pair == best


def test_an_explanation_has_the_figures_of_the_history(
    searched: Searched, explained: Explanation
) -> None:
    chosen = searched.chosen
    assert chosen is not None
    outcome = outcome_of(chosen.request.pair)
    assert explained.trial == chosen.number
    assert explained.rank == 1
    for one in explained.figures:
        expected = getattr(outcome, one.name)
        assert one.seen == (None if expected is None else pytest.approx(expected))
    score, latency = explained.figures[:2]
    assert (score.source, latency.source) == ("measured", "modelled")
    assert score.interval is None
    assert latency.interval is not None
    assert latency.interval.high == pytest.approx(1.2 * outcome.latency_s)
    assert latency.limit == 0.05
    assert latency.room == pytest.approx(1 - outcome.latency_s / 0.05)
    for spread in (latency.believed, latency.foretold):
        assert spread is not None
        assert spread.low <= spread.mean <= spread.high
    assert latency.believed is not None
    assert latency.believed.low * 0.9 < outcome.latency_s < latency.believed.high * 1.1


def test_rivals_and_the_like_earlier_trial_are_others_of_the_history(
    searched: Searched, explained: Explanation
) -> None:
    chosen = searched.chosen
    assert chosen is not None
    assert explained.rivals
    for rival in explained.rivals:
        entry = searched.entry(rival.trial)
        assert entry.request.pair != chosen.request.pair
        assert rival.outcome == outcome_of(entry.request.pair)
        assert rival.value == value_of(searched.brief, entry)
        if rival.kind == "front":
            assert entry in searched.front
    if chosen.number:
        assert explained.origin.parent is not None
        assert explained.origin.parent < chosen.number
    assert explained.origin.reason


def test_steps_and_prices_are_told(explained: Explanation) -> None:
    assert [one.cost for one in explained.sensitivity] == ["latency_s"]
    assert len(explained.steps) > 5
    values = [one.value.mean for one in explained.steps]
    assert values == sorted(values, reverse=True)
    assert all(0 <= one.keeps <= 1 for one in explained.steps)


@pytest.mark.parametrize(("number", "said"), [(FAILED, "the board is gone"), (99, "not there")])
def test_a_trial_that_gave_nothing_is_not_explained(
    searched: Searched, number: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        searched.entry(number)


def test_searches_are_found_with_their_progress(run: Path, searched: Searched) -> None:
    (found,) = find_searches(run.parent)
    assert found["name"] == "search-toy"
    assert not found["finished"]
    assert found["evaluations"] == COUNT - 2
    assert found["best"] == searched.ranked[0].number
    assert find_search(None, run.parent) == run
    assert find_search("search-toy", run.parent) == run
    with pytest.raises(UsageError, match="no search"):
        find_search(None, run / "nowhere")
    with pytest.raises(UsageError, match="no search at"):
        read_search(run.parent)


def test_the_best_so_far_never_falls_and_ends_at_the_best(searched: Searched) -> None:
    found = progress(searched)
    known = found.search[np.isfinite(found.search)]
    assert (np.diff(known) >= 0).all()
    assert known[-1] == value_of(searched.brief, searched.ranked[0])
    assert found.chance is None
    assert found.starts == 7  # one of eight failed


@pytest.mark.parametrize(
    ("asked", "limits", "whole_front", "said"),
    [
        (
            {"data": "path/to/SST-2", "targets": ["nano", "rpi4", "m1"]},
            Limits(latency_s=0.04, size_bytes=20e6),
            False,
            "The best transformer for SST-2 on nano, rpi4 and m1, "
            "latency at most 40 ms and size at most 20 MB",
        ),
        (
            {"oracle": {"name": "friendly.npz"}, "data": None, "targets": []},
            Limits(),
            True,
            "All trade-offs of transformers for the assumed truth friendly "
            "on rpi4:cpu, a100:gpu and home-made",
        ),
    ],
)
def test_a_search_is_told_in_a_sentence(
    asked: dict[str, object], limits: Limits, whole_front: bool, said: str
) -> None:
    brief = Brief({**REQUEST, **asked}, PRODUCT, toy_goal(limits), whole_front)
    assert heading(brief) == said


def test_a_front_s_volume_grows(searched: Searched) -> None:
    front = replace(searched, brief=replace(searched.brief, whole_front=True))
    found = progress(front).search
    assert (np.diff(found) >= 0).all()
    assert found[-1] > 0


def test_what_the_toy_world_pays_for_matters(searched: Searched) -> None:
    """Its latency is the board's speed above all; its score is no matter of the board."""
    models = searched.models()
    assert models is not None
    every = importances(models, PRODUCT, np.random.default_rng(0))
    found = {one.choice: one.shares for one in every}
    assert found["board"]["score"].high == 0
    assert found["board"]["latency_s"].low > 0.4
    assert max(found, key=lambda name: found[name]["latency_s"].mean) == "board"


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_layers_and_what_is_around_them_are_the_whole_design(seed: int) -> None:
    (pair,) = FLEXIBERT.sample(np.random.default_rng(seed), 1, tied=False)
    parts = split_terms(pair.architecture)
    assert len(parts) == len(pair.architecture.layers) + 1
    assert parts.sum(axis=0) == pytest.approx(exact_terms(pair.architecture))
    assert (parts[:-1] >= 0).all()


def test_costs_of_layers_add_up_to_what_is_foretold(searched: Searched) -> None:
    assert searched.chosen is not None
    pair = searched.chosen.request.pair
    for one in layer_costs(pair, searched.trials):
        assert one.constant + one.around + sum(one.layers) == pytest.approx(one.foretold)
        assert one.foretold == pytest.approx(getattr(outcome_of(pair), one.cost), rel=0.5)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_every_step_and_every_exchange_stays_in_the_space(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = FLEXIBERT.sample(rng, 2, tied=False)
    found = dict(directions(one, FLEXIBERT))
    assert one not in found.values()
    assert all(FLEXIBERT.contains(pair) for pair in found.values())
    for choice in ("board", "layers", "hidden size", "number of heads", "kinds of heads"):
        assert FLEXIBERT.contains(exchanged(choice, one, other, FLEXIBERT.space))


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_a_pair_differs_from_all_but_itself(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (one,) = FLEXIBERT.sample(rng, 1, tied=False)
    moved = step(one, FLEXIBERT, rng)
    assert (differences(one, moved) == NO_DIFFERENCE) == (one == moved)
    (far,) = FLEXIBERT.sample(rng, 1, tied=False)
    assert nearest(one, [far, one]) == ([0, 1] if far == one else [1, 0])


def test_the_commands_say_the_same(
    run: Path, searched: Searched, explained: Explanation, capsys: pytest.CaptureFixture[str]
) -> None:
    show_explanation(explained, searched)
    said = capsys.readouterr().out
    assert f"trial {explained.trial} on {explained.place}" in said
    for one in explained.figures:
        assert one.seen is None or figure(one.name, one.seen) in said
    assert "foretold by sums of work" in said
    assert "\N{HORIZONTAL ELLIPSIS}" not in said  # eighty columns hold it all
    assert re.search(r"latency +\S+ \w+ +modelled ", said)
    listed = CliRunner().invoke(runs, ["list", "--runs", str(run.parent), "--json"])
    assert json.loads(listed.stdout) == find_searches(run.parent)
    unfinished = CliRunner().invoke(runs, ["show", str(run)])
    assert isinstance(unfinished.exception, UsageError)
    with pytest.raises(UsageError, match="not the oracle"):
        searched.load_oracle(run / "search.json")


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_view_has_room_for_every_figure(searched: Searched, width: int) -> None:
    """Of places with long names, and of figures that were foretold."""

    def far(entry: Entry) -> Entry:
        pair = replace(entry.request.pair, place=PLACES[0])
        evaluation = entry.evaluation and replace(
            entry.evaluation, sources=dict.fromkeys(COSTS, "foretold")
        )
        return replace(entry, request=replace(entry.request, pair=pair), evaluation=evaluation)

    entries = tuple(far(one) for one in searched.entries)
    place = Place("jetson-nano:cpu", "onnxruntime", "int8")
    named = tuple(
        replace(one, request=replace(one.request, pair=replace(one.request.pair, place=place)))
        for one in entries
    )
    goal = replace(searched.brief.goal, references={place: outcome_of(entries[0].request.pair)})
    view = LiveView("search-toy", assumed=False, width=width)
    view.standing(Standing(replace(searched.brief, goal=goal), Budget(18), SEARCH, named, 1.0, 18))
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(view.render())
    said = console.export_text()
    rows = re.findall(r"^ *\d+ {2}jetson-\S+int8 .*$", said, re.MULTILINE)
    shown = sorted((one for one in named if not one.pending), key=lambda one: one.ended)[-8:]
    assert len(rows) == len(shown)
    for row, one in zip(reversed(rows), shown):
        if one.evaluation is not None:
            outcome = one.evaluation.outcome
            assert f"~{figure('latency_s', outcome.latency_s)} " in row
            assert f"~{figure('peak_power_w', outcome.peak_power_w)}" in row
    assert FORETOLD_NOTE in said


@pytest.mark.slow
def test_the_page_has_the_figures_of_every_trial(run: Path, searched: Searched) -> None:
    page = write_search_page(searched, run).read_text()
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []  # self-contained
    assert page.count("<img") == 6
    assert "<h1>The best transformer for toy on rpi4, latency at most 50 ms</h1>" in page
    text = html.unescape(page)
    rows = re.findall(r"<tr[^>]*><td>(\d+)</td>(.*?)</tr>", text)
    assert [int(number) for number, _ in rows] == list(range(COUNT))
    for entry in searched.tried:
        row = rows[entry.number][1]
        outcome = outcome_of(entry.request.pair)
        for name in ("score", "latency_s", "energy_j", "size_bytes"):
            assert f"<td>{figure(name, getattr(outcome, name))}</td>" in row
        assert f"<td>{value_of(searched.brief, entry):+.3f}</td>" in row
    assert "the board is gone" in rows[FAILED][1]
    assert "No random search was paid for" in text
