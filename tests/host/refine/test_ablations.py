"""What a refinement is told to do without is what it does without."""

from __future__ import annotations

import pytest
from edgetran_host.cli.refine import refine
from edgetran_host.cli.show_tree import show_tree
from edgetran_host.refine.ablations import PARTS, folder_name
from edgetran_host.refine.efforts import settings
from edgetran_host.refine.proposals import GROWING
from edgetran_host.refine.telling import tree_page
from edgetran_protos.errors import UsageError

ROUNDS = [
    {"parent": 3, "left_out": ["openvino int8: no"]},
    {"parent": 4, "left_out": ["openvino int8: no"]},
]
TREE = {
    "nodes": [
        {
            "number": 0,
            "parent": None,
            "what": "the chosen model",
            "state": "trained",
            "score": 0.9,
            "cost": {"latency_s": 0.01, "energy_j": None, "size_bytes": 1e6, "modelled": True},
        }
    ],
    "best": 0,
    "importance": "random",
    "without": ["growth", "saliency"],
}


def test_the_command_offers_every_part() -> None:
    (option,) = (one for one in refine.params if one.name == "without")
    assert tuple(option.type.choices) == tuple(PARTS)


def test_every_part_can_be_left_out() -> None:
    whole = settings("quick")
    assert whole.importance == "saliency"
    assert whole.by_cost
    assert not whole.without
    assert set(whole.modes) > set(settings("quick", without=["growth"]).modes)
    assert not set(settings("quick", without=["growth"]).modes) & set(GROWING)
    assert settings("quick", without=["saliency"]).importance == "random"
    assert settings("quick", without=["saliency"], importance="position").importance == "position"
    assert not settings("quick", without=["hardware"]).by_cost


def test_who_prefers_accuracy_has_capacity_moved_and_keeps_the_layers() -> None:
    usual, moving = settings("quick"), settings("quick", prefer="accuracy")
    assert set(usual.modes) - set(moving.modes) == {"drop layer", "prune width"}
    assert set(moving.modes[:3]) == {*GROWING, "narrow embedding"}
    assert not set(settings("quick", prefer="accuracy", without=["growth"]).modes) & set(GROWING)


def test_their_order_makes_no_other_refinement() -> None:
    one, other = (settings("quick", without=given) for given in (list(PARTS), list(PARTS)[::-1]))
    assert one == other
    assert folder_name(one.without) == "refine-without-growth-saliency-distillation-hardware"
    assert folder_name(()) == "refine"


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="be without it"):
        settings("quick", without=["saliency"], importance="saliency")
    with pytest.raises(UsageError, match="no part called 'magic'"):
        settings("quick", without=["magic"])


def test_tree_and_page_say_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    said = "without growth, saliency; parts chosen by random"
    assert said in tree_page(TREE)
    show_tree(TREE)
    assert said in capsys.readouterr().out.replace("\n", " ")
    assert "node 3: openvino int8: no" in tree_page({**TREE, "rounds": ROUNDS})
    usual = {**TREE, "importance": "saliency", "without": []}
    assert "without" not in tree_page(usual)
