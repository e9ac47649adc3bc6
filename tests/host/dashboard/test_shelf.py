"""Which runs and records a folder holds, and that a name never leads out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgetran_host.dashboard.shelf import JOB, RECORD, REFINEMENT, SEARCH, Shelf
from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.refine.node import ROOT_MODE
from edgetran_host.refine.proposals import GROW_HEADS
from edgetran_host.refine.tree import RefinementTree

from tests.host.refine.test_cycle import node

CONFIG = JobConfig("intents", "minilm", "nano", "quick")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    job = RunDirectory.create(folder / "job", CONFIG)
    job.finish("data", {})
    (folder / "job" / "refine" / "tree").mkdir(parents=True)
    tree = RefinementTree(folder / "job" / "refine" / "tree")
    tree.put(node(0, None, ROOT_MODE, 0.5))
    tree.put(node(1, 0, GROW_HEADS, 0.6))
    (folder / "search").mkdir()
    request = {"request": {"data": "intents", "targets": ["nano", "rpi4"], "oracle": None}}
    (folder / "search" / "search.json").write_text(json.dumps(request))
    (folder / "broken").mkdir()
    (folder / "broken" / "config.json").write_text("{}")
    return folder


@pytest.fixture
def shelf(runs: Path, tmp_path: Path) -> Shelf:
    found = Shelf(runs, tmp_path / "records")
    found.refresh()
    return found


def test_every_kind_of_run_is_told(shelf: Shelf) -> None:
    found = {entry.name: (entry.kind, entry.state, entry.about) for entry in shelf.runs}
    state, about = found.pop("broken")[1:]
    assert state == "cannot be read"
    assert "budget" in about  # which it lacks
    assert found == {
        "job": (JOB, "under way: 1 stages", "intents on nano"),
        "job/refine": (REFINEMENT, "under way", "of job: 2 nodes"),
        "search": (SEARCH, "under way", "intents on nano, rpi4"),
    }
    assert shelf.records == ()


def test_a_stamp_changes_with_its_run_alone(shelf: Shelf, runs: Path) -> None:
    before = {entry.name: entry.stamp for entry in shelf.runs}
    RunDirectory(runs / "job").write_result({})
    shelf.refresh()
    after = {entry.name: entry.stamp for entry in shelf.runs}
    assert [name for name in before if before[name] != after[name]] == ["job"]
    assert {entry.state for entry in shelf.runs if entry.name == "job"} == {"finished"}


def test_what_is_gone_is_not_told(shelf: Shelf, runs: Path) -> None:
    (runs / "search" / "search.json").unlink()
    shelf.refresh()
    assert "search" not in {entry.name for entry in shelf.runs}


@pytest.mark.parametrize("name", ["../runs/job", "job/../job", "/etc", "", ".", "job/"])
def test_a_name_is_not_a_path(shelf: Shelf, name: str) -> None:
    assert shelf.find("", "job") is not None
    assert shelf.find("", name) is None
    assert shelf.find(RECORD, name) is None
