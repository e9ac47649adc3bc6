"""The search stage, with a tiny teacher and an emulated board that is a real daemon."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import edgetran
import pytest
import torch
from edgetran.progress import ignore
from edgetran_host.job.child import Child, Nursery
from edgetran_host.job.config import Budget, JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.job.searching import Reference, Search
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.seeds import load_seed
from edgetran_host.models.text_model import TextModel
from edgetran_host.search.objective import Cost
from edgetran_host.search.seeded_space import Design
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.tasks import load_task
from edgetran_host.vocabulary import trim_tokenizer
from edgetran_protos.errors import BudgetError

PIECES = 900
WIDE = Budget(max_latency_s=1.0, max_energy_j=10.0, max_size_bytes=1e8, max_power_w=100.0)
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
REFERENCE = Reference(Cost(0.1, 1.0, 5.0, 1e7, True), 0.5)


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
    task = load_task("intents", limit=200)
    task = dataclasses.replace(task, dev=task.dev[:30])
    config = JobConfig(
        data="intents", seed="minilm", target="nano", effort="quick", train_rows=200, budget=WIDE
    )
    run = RunDirectory.create(tmp_path / "run", config)
    board = edgetran.connect("nano", threads=1)
    work = Workbench(config, task, load_seed("minilm"), run, 1, ignore, board, board, False)
    work.effort = dataclasses.replace(work.effort, trials=2, trial_rows=64)
    tokenizer_json, _ = trim_tokenizer(work.seed.tokenizer_json, work.texts(), PIECES)
    torch.manual_seed(0)
    layer = Layer(64, ("sa_sdp",) * 4, 16, (64,))
    teacher = TextModel(
        ModelConfig(
            architecture=Architecture((layer, layer)),
            vocab_size=PIECES,
            positions="absolute",
            max_positions=64,
            type_vocab_size=1,
            pad_id=0,
            layer_norm_eps=1e-6,
            dropout=0.1,
            pooling="mean",
            outputs=work.outputs,
            sequence_length=work.sequence_length,
        )
    ).eval()
    nursery = Breaking(work, teacher, tokenizer_json)
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
