"""The search stage, with a tiny teacher and an emulated board that is a real daemon."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import edgetran
import pytest
import torch
from edgetran_host.job.child import Child, Nursery
from edgetran_host.job.config import Budget
from edgetran_host.job.searching import Reference, Search
from edgetran_host.search.objective import Cost
from edgetran_host.search.seeded_space import Design
from edgetran_protos.errors import BudgetError

from tests.host.tiny_job import teacher, workbench

WIDE = Budget(max_latency_s=1.0, max_energy_j=10.0, max_size_bytes=1e8, max_power_w=100.0)
REFERENCE = Reference(Cost(0.1, 1.0, 5.0, 1e7, True), 0.5)
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast")


class Breaking(Nursery):
    """Its designs of these numbers of heads answer with NaN in every precision."""

    heads: tuple[int, ...] = ()

    def child(self, design: Design) -> Child:
        found = super().child(design)
        if design.heads in self.heads:
            with torch.no_grad():
                next(found.model.parameters())[:] = math.nan
        return found


@pytest.fixture
def search(tmp_path: Path, own_home: Path) -> Search:
    """Of two designs; a teacher of two layers and four heads."""
    work = workbench(tmp_path / "run", edgetran.connect("nano", threads=1), budget=WIDE)
    work.effort = dataclasses.replace(work.effort, trials=2, trial_rows=64)
    nursery = Breaking(work, *teacher(work))
    return Search(work, nursery, nursery.targets(), REFERENCE)


def test_a_design_that_cannot_be_exported_is_left_out(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said with its reason, and does not come again; the others are trained."""
    monkeypatch.setattr(Breaking, "heads", (4,))
    best = search.run()
    trained = [trial["design"] for trial in search.history()]
    refused = search.refused()
    assert len(trained) == 2
    assert refused
    for one in refused:
        assert one["design"]["heads"] == 4
        assert one["design"] not in trained
        assert "logits leave the model's" in one["why"]
        assert not search.model_folder(Design(**one["design"])).exists()
    assert dataclasses.asdict(best.design) in trained


def test_where_none_can_be_exported_the_reason_is_given(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "heads", (1, 2, 3, 4))
    with pytest.raises(BudgetError, match=r"tried no design.*logits leave the model's"):
        search.run()
