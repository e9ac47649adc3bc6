"""What a campaign measures is fixed when it begins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from edgetran_host.campaign.plan import Plan, designs_of, settle
from edgetran_host.measuring.profiling import Request
from edgetran_host.space.design_space import DesignSpace
from edgetran_protos.errors import DataError, UsageError


def test_drawn_designs_belong_to_the_space_and_to_the_seed() -> None:
    drawn = designs_of("8", 3)
    assert drawn == designs_of("8", 3) != designs_of("8", 4)
    for design in drawn:
        DesignSpace.flexibert2().validate(design)


def test_designs_and_rows_are_read_each_once(tmp_path: Path) -> None:
    drawn = designs_of("3", 0)
    path = tmp_path / "designs.json"
    rows = [{"architecture": drawn[2].to_dict(), "latency_s": 1.0}]
    path.write_text(json.dumps([*(one.to_dict() for one in drawn), *rows]))
    assert designs_of(str(path), 0) == drawn


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"l": 1}]', "\x00"])
def test_what_holds_no_designs_is_said_to(tmp_path: Path, text: str) -> None:
    path = tmp_path / "designs.json"
    path.write_text(text)
    with pytest.raises(DataError, match=str(path)):
        designs_of(str(path), 0)


def test_a_folder_keeps_its_plan_while_boards_may_join(tmp_path: Path) -> None:
    plan = Plan(("nano",), designs_of("2", 0), 128, Request(blocks=5))
    settle(plan, tmp_path)
    settle(plan, tmp_path)
    settle(replace(plan, targets=("nano", "rpi4")), tmp_path)
    with pytest.raises(UsageError, match="designs, request"):
        settle(replace(plan, designs=designs_of("2", 1), request=Request(blocks=6)), tmp_path)
    with pytest.raises(UsageError, match="nothing"):
        settle(replace(plan, designs=()), tmp_path / "other")
