"""A finished run refined as a user does it: grown, pruned, killed, resumed, deployed."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import edgetran
import pytest
from edgetran_protos.bundle import Bundle

from tests.e2e.test_job import ROOMY, Ended, Place, place, rows_of, whole

__all__ = ["place", "whole"]  # fixtures

pytestmark = pytest.mark.slow

ROUNDS = 7
WORDS = ("refine", "run", "--runs", ".", "--rounds", str(ROUNDS), "--threads", "1", "--json")


@pytest.fixture(scope="module")
def refined(place: Place, whole: Ended) -> Ended:
    ended = place.edgetran(*WORDS)
    assert ended.status == 0, ended.said
    return ended


def tree_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "refine" / "tree" / "tree.json").read_text())
    return found


def without_time(tree: dict[str, Any]) -> Any:
    """What a board measured by a clock of its own may differ from one run to the next."""
    kept = [{k: v for k, v in node.items() if k != "measured_again"} for node in tree["nodes"]]
    return kept, tree["rounds"]


def test_the_tree_is_told_and_every_child_came_from_its_parent(
    place: Place, refined: Ended
) -> None:
    found = refined.json["refinement"]
    usual = {"importance": "saliency", "without": []}
    assert found == {**tree_of(place.path / "run"), "best": found["best"], **usual}
    nodes = {node["number"]: node for node in found["nodes"]}
    assert sum(bool(one["children"]) for one in found["rounds"]) == ROUNDS
    assert {one["mode"] for one in found["rounds"]} >= {"prune heads", "prune feed-forward"}
    for node in nodes.values():
        if node["parent"] is None:
            continue
        parent = nodes[node["parent"]]
        grew = node["mode"].startswith("grow")
        assert (node["parameters"] > parent["parameters"]) == grew
        assert node["inherited"] > 0.5
        assert (node["score"] is not None) == (node["state"] == "trained")
        other = (node["runtime"], node["precision"]) != (parent["runtime"], parent["precision"])
        assert other == (node["mode"] == "change precision")
        assert (node["pieces"] < parent["pieces"]) == (node["mode"] == "prune vocabulary")
    assert {node["mode"] for node in nodes.values()} >= {"change precision", "prune vocabulary"}


def best_of(nodes: dict[int, Any]) -> int:
    """By the objective, of those that lose no more than the root."""
    trained = [number for number, node in nodes.items() if node["value"] is not None]
    return max(
        (one for one in trained if nodes[one]["served_loss"] <= nodes[0]["served_loss"]),
        key=lambda number: (nodes[number]["value"], -number),
    )


def test_the_best_node_serves(place: Place, refined: Ended) -> None:
    found = refined.json["refinement"]
    assert found["best"] == best_of({node["number"]: node for node in found["nodes"]})
    chosen = rows_of(refined.json)["chosen"]
    with edgetran.connect("nano") as board:
        (serving,) = [one for one in board.deployments() if one.model == "moods"]
        (answer,) = board.predict(["the film was superb"], model="moods")
    assert answer.label == "good"
    if found["best"]:
        assert chosen["title"].startswith("refined")
        assert rows_of(refined.json)["searched"]["parameters"] > 0
        bundle = Path(refined.json["run"]) / f"node-{found['best']}" / "bundle.tar"
        read = Bundle.open(place.path / bundle)
        tokenizer = json.loads(read.read(read.card.tokenizer_digest))
        (best,) = [node for node in found["nodes"] if node["number"] == found["best"]]
        assert len(tokenizer["model"]["vocab"]) == best["pieces"]
    assert serving.variant == chosen["variant"]


def test_killed_in_the_middle_and_on_workers_it_grows_the_same_tree(
    place: Place, refined: Ended
) -> None:
    whole_tree = tree_of(place.path / "run")
    again = place.path / "run" / "refine"
    again.rename(place.path / "run" / "refine-before")
    on_workers = ("--engine", "local", "--workers", "2")
    for nodes, how in ((1, ()), (4, on_workers), (7, on_workers)):
        command = place.command(*WORDS, *how)
        file = again / "tree" / "tree.json"
        ended = command.kill_when(
            lambda event, file=file, nodes=nodes: (
                file.exists()  # type: ignore[misc]
                and len(json.loads(file.read_text())["nodes"]) > nodes
            ),
            signal.SIGKILL,
        )
        assert ended.status == -signal.SIGKILL
    assert place.edgetran(*WORDS, *on_workers).status == 0
    assert without_time(tree_of(place.path / "run")) == without_time(whole_tree)


def test_other_settings_are_refused(place: Place, refined: Ended) -> None:
    ended = place.edgetran(*WORDS, "--rounds", str(ROUNDS + 1), "--importance", "random")
    assert ended.status == 1
    assert any(line.endswith("began with another importance") for line in ended.said)


def test_a_deployment_may_refine_by_itself(place: Place, refined: Ended) -> None:
    """The run is there, and so are the rounds: nothing is paid for again."""
    kept = json.loads((place.path / "run" / "refine" / "result.json").read_text())
    ended = place.deploy("run", *ROOMY, "--refine-rounds", str(ROUNDS)).ended()
    assert ended.status == 0, ended.said
    assert ended.json["refinement"] == kept["refinement"]
    assert rows_of(ended.json) == rows_of(kept)


def test_without_all_its_parts_it_is_compared_and_not_deployed(
    place: Place, refined: Ended
) -> None:
    with edgetran.connect("nano") as board:
        before = [(one.bundle_digest, one.since_unix_s) for one in board.deployments()]
        words = [f"--without={part}" for part in ("hardware", "growth", "saliency", "distillation")]
        ended = place.edgetran(*WORDS, *words)
        assert ended.status == 0, ended.said
        after = [(one.bundle_digest, one.since_unix_s) for one in board.deployments()]
        assert after == before
    found, own = ended.json["refinement"], place.path / "run" / "refine-without-growth-saliency"
    own = own.with_name(f"{own.name}-distillation-hardware")
    assert found["without"] == ["growth", "saliency", "distillation", "hardware"]
    assert "without growth, saliency, distillation, hardware" in (own / "report.html").read_text()
    assert not [node for node in found["nodes"] if node["mode"].startswith("grow")]
    assert not [node for node in found["nodes"] if node["state"] == "over budget"]
    assert tree_of(place.path / "run")["nodes"] != found["nodes"]


def test_a_run_that_is_not_finished_is_named(place: Place) -> None:
    ended = place.edgetran("refine", "nowhere", "--runs", ".")
    assert ended.status == 1
    assert any("no run at nowhere" in line for line in ended.said)


def test_more_effort_goes_on_from_the_run_that_is_there(place: Place, refined: Ended) -> None:
    run = place.path / "run"
    config, before = (run / "config.json").read_bytes(), tree_of(run)
    more = str(ROUNDS + 1)
    ended = place.deploy("run", *ROOMY, "--effort", "standard", "--refine-rounds", more).ended()
    assert ended.status == 0, ended.said
    assert f"goes on from the quick run in run: {more} rounds of refinement" in ended.said
    assert (run / "config.json").read_bytes() == config
    after = ended.json["refinement"]
    assert len(after["rounds"]) > len(before["rounds"])
    known = len(before["nodes"])
    assert [n["number"] for n in after["nodes"][:known]] == list(range(known))
    assert [n["loss"] for n in after["nodes"][:known]] == [n["loss"] for n in before["nodes"]]
