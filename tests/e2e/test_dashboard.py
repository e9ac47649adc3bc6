"""`edgetran dashboard` in a real browser, beside a real daemon that plays a board and real runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import edgetran
import numpy as np
import psutil
import pytest
from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.evaluator import Evaluation, Request
from edgetran_host.cosearch.goal import Limits
from edgetran_host.cosearch.history import Asked, History
from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.measuring.profiling import Request as Wish
from edgetran_host.measuring.profiling import profile
from edgetran_host.refine.node import ROOT_MODE
from edgetran_host.refine.tree import RefinementTree
from edgetran_host.search.objective import Cost
from edgetran_host.search.seeded_space import Design, SeededSpace
from edgetran_host.search.study import SeededStudy, Trial

from tests.browser import Chromium
from tests.e2e.finished_run import write_finished
from tests.host.cosearch.toy_world import PRODUCT, outcome_of, toy_goal
from tests.host.refine.test_cycle import node

pytestmark = pytest.mark.slow

REASON = "<img src=x onerror='document.title=1'>the kitchen answered wrongly"
START_S, END_S = 60.0, 20
COST = Cost(0.0123, None, None, 1e6, modelled=True)
ANSWERS = "document.querySelector('section.answers b')"
AWAY = "document.querySelector('section.away')"
FIGURES = "document.querySelectorAll('figure').length"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboard")


class PlayedBoard:
    """A daemon that plays a Jetson Nano, always at one address."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.address = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        ready = self._state / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "edgetran_daemon", "--emulate", "nano"]
        command += ["--listen", self.address, "--state", str(self._state), "--threads", "1"]
        self.process = psutil.Popen([*command, "--ready-file", str(ready)])
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.address = json.loads(ready.read_text())["address"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(END_S)


@pytest.fixture(scope="module")
def board(place: Path, tiny: ModuleType) -> Iterator[PlayedBoard]:
    """It serves `home`, took another bundle back and refused a third; a record was made of it."""
    (place / "board").mkdir()
    played = PlayedBoard(place / "board")
    with edgetran.connect(played.address) as found:
        first = tiny.make(place / "first.tar", 0, name="home")
        found.deploy(first)
        found.deploy(tiny.make(place / "second.tar", 1, name="home"))
        found.rollback("home", REASON)
        with pytest.raises(edgetran.ProbeFailed):
            found.deploy(tiny.make(place / "third.tar", 2, name="home", wrong_by=0.5))
        profile(found, first, Wish(), place / "records" / "nano" / "first")
    yield played
    played.process.resume()
    played.stop()


@pytest.fixture(scope="module")
def runs(place: Path) -> Path:
    """A job under way, its refinement under way, a search, a finished and refined job."""
    folder = place / "runs"
    job = RunDirectory.create(folder / "job", JobConfig("intents", "minilm", "nano", "quick"))
    job.finish("seed", {})
    space = SeededSpace((2, 4), (3, 6), (384, 768), (4000, None), ("int8", "fp32"))
    study = SeededStudy(space, job.folder("search") / "study.db", 0)
    asked = study.suggest()
    assert asked is not None
    design = Design(4, 6, 384, None, "int8")
    study.update(asked[0], Trial(design, COST, 0.8765, 1.0, True), [0.0] * 4)
    tree = RefinementTree(job.folder("refine") / "tree")
    tree.folder.mkdir()
    for number, parent, score in ((0, None, 0.5), (1, 0, 0.7), (2, 1, 0.6)):
        made = node(number, parent, ROOT_MODE, score)
        tree.put(replace(made, what=f"layer {number}: <b>wider</b>"))
    write_search(folder / "search")
    write_finished(folder / "finished")
    return folder


def write_search(path: Path) -> None:
    path.mkdir()
    request = {"oracle": None, "data": "toy", "targets": ["rpi4"], "effort": "quick"}
    kept = {"request": request, "study": "toy", "storage": None}
    (path / "search.json").write_text(json.dumps(kept))
    brief = Brief(request, PRODUCT, toy_goal(Limits(latency_s=0.05)))
    history = History.create(f"sqlite:///{path}/search.db", "toy", brief)
    for turn, pair in enumerate(PRODUCT.sample(np.random.default_rng(4), 12, tied=True)):
        number = history.ask(Request(pair, "full"), Asked("me", turn))
        history.tell(number, Evaluation(outcome_of(pair), 0.5, {"score": "measured"}, {}))


@pytest.fixture(scope="module")
def address(place: Path, board: PlayedBoard, runs: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "edgetran_host.cli.main", "dashboard", "--json"]
    command += ["--port", "0", "--runs", str(runs), "--records", str(place / "records")]
    process = subprocess.Popen(
        [*command, "--board", board.address], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = "".join(process.stdout.readline() for _ in range(3))
    yield json.loads(told)["address"]
    process.send_signal(signal.SIGINT)
    assert process.wait(END_S) == 0


@pytest.fixture(scope="module")
def browser(place: Path) -> Iterator[Chromium]:
    found = Chromium(place / "profile")
    yield found
    found.close()


@pytest.fixture(autouse=True)
def no_complaints(browser: Chromium) -> Iterator[None]:
    """Nothing that the policy refuses, and no exception, in any page."""
    browser.complaints.clear()
    yield
    browser.text()  # hears what is left
    assert browser.complaints == []


def test_a_board_its_models_and_why(browser: Chromium, address: str) -> None:
    browser.open(address)
    browser.wait(ANSWERS)
    browser.wait("document.querySelectorAll('td').length > 12")
    text = browser.text()
    assert "EMULATED: no such board is attached" in text
    assert "NVIDIA Jetson Nano" in text
    assert browser.run("document.querySelector('[data-figure=power] b').innerText").startswith("~")
    assert "logits differ from the bundle's by 0.5" in text
    assert REASON in text  # as text
    assert not browser.run("document.querySelector('main img')")
    assert "Nobody has a lease" in text


def test_its_power_is_drawn_over_time(browser: Chromium, address: str) -> None:
    browser.open(address)
    script = "document.querySelector('[data-figure=power] path').getAttribute('d')"
    browser.wait("document.querySelector('[data-figure=power] path')")
    first = browser.run(script)
    browser.wait(f"{script}.split('L').length > {len(first.split('L'))}")


def test_who_has_it_is_told(browser: Chromium, address: str, board: PlayedBoard) -> None:
    browser.open(address)
    browser.wait(ANSWERS)
    with edgetran.connect(board.address) as found, found.lease(holder="the nightly"):
        browser.wait("document.body.innerText.includes('the nightly has the board')")
    browser.wait("document.body.innerText.includes('Nobody has a lease')")


def test_a_board_that_dies_is_away_and_comes_back(
    browser: Chromium, address: str, board: PlayedBoard
) -> None:
    browser.open(address)
    browser.wait(ANSWERS)
    for process in (*board.process.children(), board.process):
        process.kill()
    browser.wait(AWAY)
    text = browser.text()
    assert browser.run(FIGURES) == 0
    assert "AWAY" in text
    assert "It last answered" in text
    assert "serving" not in text
    assert "~" not in text
    board.process.wait(END_S)
    board.start()
    browser.wait(ANSWERS)


def test_a_board_that_is_silent_is_away(
    browser: Chromium, address: str, board: PlayedBoard
) -> None:
    browser.open(address)
    browser.wait(ANSWERS)
    board.process.suspend()
    browser.wait(AWAY)
    assert browser.run(FIGURES) == 0
    board.process.resume()
    browser.wait(ANSWERS)


def test_the_way_back_to_a_page_is_live(
    browser: Chromium, address: str, board: PlayedBoard
) -> None:
    browser.open(address)
    browser.wait(ANSWERS)
    browser.open(f"{address}runs")
    browser.wait("document.querySelector('td a')")
    browser.run("history.back()")
    browser.wait(ANSWERS)
    with edgetran.connect(board.address) as found, found.lease(holder="the weekly"):
        browser.wait("document.body.innerText.includes('the weekly has the board')")


def test_runs_are_listed(browser: Chromium, address: str) -> None:
    browser.open(f"{address}runs")
    browser.wait("document.querySelectorAll('td a').length === 4")
    text = browser.text()
    assert "intents on nano" in text
    assert "of job: 3 nodes" in text
    assert browser.run("document.querySelector('a[href=\"/runs/job/refine\"]').innerText")


def test_a_run_under_way_grows_on_its_page(browser: Chromium, address: str, runs: Path) -> None:
    browser.open(f"{address}runs/job")
    browser.wait("document.querySelector('.report li')")
    text = browser.text()
    assert "4L 6h ff384 all int8" in text
    assert "87.65" in text
    assert "~12.30" in text
    RunDirectory(runs / "job").finish("baselines", {})
    browser.wait("document.body.innerText.includes('baselines')")


def test_a_tree_under_way(browser: Chromium, address: str) -> None:
    browser.open(f"{address}runs/job/refine")
    browser.wait("document.querySelector('.tree li li li')")
    assert browser.run("document.querySelector('.tree li li > b').innerText") == (
        "1 layer 1: <b>wider</b> (best)"
    )


def test_a_finished_run_with_its_table_front_and_tree(browser: Chromium, address: str) -> None:
    browser.open(f"{address}runs/finished")
    for title in ("Search: score against cost", "Latency on this machine, every timed run"):
        picture = f"document.querySelector('img[alt=\"{title}\"]')"
        browser.wait(f"({picture} || {{}}).naturalWidth > 100")
    text = browser.text()
    assert "The board was emulated" in text
    assert "~20.00" in text
    assert "not tried: 6L 12h ff768 8k int8: the int8 graph is broken" in text
    assert browser.run("document.querySelector('.tree li li > b').innerText") == "1 edit 1 (best)"


def test_a_search_with_its_front_and_outlook(browser: Chromium, address: str) -> None:
    browser.open(f"{address}runs/search")
    front = "document.querySelector('img[alt=\"Score against cost\"]')"
    browser.wait(f"({front} || {{}}).naturalWidth > 100")
    outlook = "document.querySelector('img[alt=\"Which choices matter\"]')"
    browser.wait(f"({outlook} || {{}}).naturalWidth > 100")


def test_a_record(browser: Chromium, address: str) -> None:
    browser.open(f"{address}records")
    browser.wait("document.querySelector('td a')")
    assert "modelled" in browser.text()
    browser.open(f"{address}records/nano/first")
    browser.wait("document.querySelector('.report td')")
    text = browser.text()
    assert "Nothing was measured on a board" in text
    assert "latency p99" in text


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("path", ["", "runs", "runs/job", "records/nano/first"])
def test_a_narrow_page_is_not_wider_than_its_window(
    browser: Chromium, address: str, path: str, dark: bool
) -> None:
    browser.look(width=390, dark=dark)
    browser.open(address + path)
    browser.wait("document.querySelector('td')")
    assert browser.run("document.documentElement.scrollWidth") == 390
    light = browser.run(
        "parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    )
    assert (light < 128) == dark
    browser.look()
