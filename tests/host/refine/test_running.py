"""What a refinement needs of its run, and what the best node's last training may do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import pytest
import torch
from edgetran import Board
from edgetran_host.job.child import Child
from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.text_model import TextModel
from edgetran_host.refine.held_out import held_out_loss
from edgetran_host.refine.running import refine_run, trained_on
from edgetran_host.refine.settings import Settings
from edgetran_protos.errors import DataError

from tests.host.tiny_job import teacher, workbench

EPOCHS = 20


@pytest.fixture
def work(tmp_path: Path) -> Workbench:
    """No board takes part in it."""
    return workbench(tmp_path / "run", cast(Board, None))


def last(work: Workbench, learning_rate: float) -> tuple[Child, TextModel]:
    """Before and after."""
    recipe = dataclasses.replace(
        work.effort.final_recipe, epochs=EPOCHS, learning_rate=learning_rate
    )
    work.effort = dataclasses.replace(work.effort, final_recipe=recipe)
    child = Child(*teacher(work), ())
    untouched = Child(*teacher(work), ())
    return untouched, trained_on(work, child, None, None, work.run.folder("last") / "checkpoint")


def test_what_is_better_on_held_out_rows_is_kept(work: Workbench) -> None:
    before, after = last(work, 1e-2)
    was, now = (
        held_out_loss(work, model, before.tokenizer_json, None) for model in (before.model, after)
    )
    assert now < was - 0.2


@pytest.mark.parametrize("learning_rate", [1e3, float("inf")])
def test_what_is_worse_or_diverges_is_not(work: Workbench, learning_rate: float) -> None:
    before, after = last(work, learning_rate)
    for old, new in zip(before.model.parameters(), after.parameters()):
        assert torch.equal(old, new)


def test_a_run_whose_rows_are_not_there(tmp_path: Path) -> None:
    """As from another folder than that of its `edgetran deploy`."""
    run = RunDirectory.create(tmp_path, JobConfig("rows.tsv", "minilm", "nano", "quick"))
    run.write_result({"rows": []})
    with pytest.raises(DataError, match=r"rows of the run.*'rows\.tsv'") as caught:
        refine_run(run.path, cast(Settings, None))
    assert "where `edgetran deploy` was given" in caught.value.hint
