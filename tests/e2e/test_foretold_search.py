"""A search long enough that surrogates of its own answer for a board, and what it says of that."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from edgetran_host.cli.search import search
from edgetran_host.cli.show_explanation import show_explanation
from edgetran_host.cosearch.assignment import Assignment
from edgetran_host.cosearch.evaluator import Request
from edgetran_host.cosearch.figures import FORETOLD, FORETOLD_NOTE, figure
from edgetran_host.cosearch.foretelling import USUAL_WIDTH
from edgetran_host.cosearch.real_evaluator import RealEvaluator
from edgetran_host.cosearch.standing import outcome_of, sources_of
from edgetran_host.cosearch.views.explaining import explain
from edgetran_host.cosearch.views.searched import Searched, read_search
from edgetran_host.engine.local import LocalEngine
from edgetran_host.ledger import Ledger
from edgetran_host.surrogates.surrogate import SURE_ROWS

from tests.e2e.moods import write_moods, write_seed

pytest.importorskip("edgetran_daemon.main", reason="needs the daemon's package")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TRIALS = 44  # on two places
CHECKED = 3  # foretold pairs that are measured after all


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGETRAN_HOME", str(path / "home"))
        try:
            yield path
        finally:
            for ready in (path / "home").glob("boards/*/ready.json"):
                os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)


@pytest.fixture(scope="module")
def assignment(path: Path) -> Assignment:
    seed, data = write_seed(path / "seed"), write_moods(path / "moods", train=300, dev=40)
    return Assignment(str(data), targets=("nano",), seed=str(seed))


@pytest.fixture(scope="module")
def found(path: Path, assignment: Assignment) -> Result:
    """Nothing is trained while searching: costs alone are of interest."""
    words = ["--target", "nano", "--data", assignment.data, "--seed", assignment.seed]
    words += ["--method", "random", "--fidelity", "transfer", "--trials", str(TRIALS)]
    words += ["--finalists", "1", "--repeats", "1", "--run", str(path / "run"), "--yes"]
    return CliRunner().invoke(search, words, env={"COLUMNS": "80"}, catch_exceptions=False)


@pytest.fixture(scope="module")
def searched(path: Path, found: Result) -> Searched:
    assert found.exit_code == 0, found.output
    return read_search(path / "run")


def test_boards_are_asked_until_enough_was_measured_and_for_finalists(searched: Searched) -> None:
    measured: dict[str, set[str]] = {}
    foretold = 0
    for one in searched.tried:
        designs = measured.setdefault(one.request.pair.place.id, set())
        if sources_of(one)["latency_s"] == FORETOLD:
            foretold += 1
            assert len(designs) + 1 >= SURE_ROWS  # the reference was measured there, too
        else:
            assert sources_of(one)["latency_s"] == "modelled"  # by an emulated board
            designs.add(one.request.pair.id)
    assert foretold >= CHECKED
    assert searched.chosen is not None
    (again,) = searched.again(searched.chosen.request.pair)
    assert sources_of(again)["latency_s"] == "modelled"


def test_what_was_foretold_is_what_the_board_gives(
    path: Path, assignment: Assignment, searched: Searched
) -> None:
    guessed = [one for one in searched.tried if FORETOLD in sources_of(one).values()]
    ledger = Ledger(f"sqlite:///{path}/run/search.db")
    with LocalEngine(slots=1) as engine:
        evaluator = RealEvaluator(
            assignment, path / "run" / "work", ledger, engine, foretell_width=0
        )
        for one in guessed[-CHECKED:]:
            seen = evaluator.evaluate(Request(one.request.pair, "transfer"))
            assert seen.sources["latency_s"] == "modelled"
            for name in ("latency_s", "energy_j", "size_bytes"):
                told = getattr(outcome_of(one), name)
                assert told == pytest.approx(getattr(seen.outcome, name), rel=USUAL_WIDTH)
        evaluator.close()
    ledger.close()


def test_every_view_says_which_figures_were_foretold(
    path: Path, found: Result, searched: Searched, capsys: pytest.CaptureFixture[str]
) -> None:
    guessed = [one for one in searched.tried if FORETOLD in sources_of(one).values()]
    assert f", {len(guessed)} foretold" in found.stderr
    page = (path / "run" / "report.html").read_text()
    assert f"{FORETOLD_NOTE}: of {len(guessed)} evaluations." in page
    rows = dict(re.findall(r"<tr[^>]*><td>(\d+)</td>(.*?)</tr>", page))
    for one in searched.tried:
        seen = figure("latency_s", outcome_of(one).latency_s)
        assert (f"<td>~{seen}</td>" in rows[str(one.number)]) == (one in guessed)
    show_explanation(explain(searched, guessed[-1]), searched)
    assert re.search(rf"latency +\S+ ms +{FORETOLD} ", capsys.readouterr().out)
