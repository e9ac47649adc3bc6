"""A training run that is interrupted ends with the weights of one that is not, bit for bit."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_host.models.checkpoint import save_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Recipe, Targets, distil, fine_tune, loop
from edgetran_host.training.loop import STATE, forget
from torch import Tensor

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]

RECIPE = Recipe(epochs=2.5, batch_size=8, learning_rate=3e-3, seed=7)
ROWS = 32
STEPS = 10  # 8 rows a step, two and a half times
OUTPUTS = 3


class Interrupted(Exception):
    """Stands for whatever ends a process between two steps."""


def until(step: int) -> OnProgress:
    def listen(event: Progress) -> None:
        if event.done >= step:
            raise Interrupted

    return listen


@pytest.fixture
def saves_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_PERIOD_S", -1.0)


class Trainer:
    """One run, started as often as wanted, each time from the same first weights."""

    def __init__(self, toy: Toys, fresh: Models, taught: bool, heads: tuple[str, ...]) -> None:
        self.task, self.data, _ = toy("classes", rows=ROWS)
        self.fresh, self.heads = fresh, heads
        self.recipe = RECIPE
        self.targets = None
        self.first_weights = 0
        if taught:
            rng = np.random.default_rng(3)
            self.targets = Targets(rng.normal(size=(ROWS, OUTPUTS)).astype(np.float32))

    def start(self, checkpoint: Path, on_progress: OnProgress = ignore) -> dict[str, Tensor]:
        model = self.fresh(OUTPUTS, heads=self.heads, seed=self.first_weights)
        torch.manual_seed(os.getpid())  # a new process' generator stands anywhere
        how = {"checkpoint": checkpoint, "on_progress": on_progress}
        if self.targets is None:
            fine_tune(model, self.data, self.task, self.recipe, **how)
        else:
            distil(model, self.data, self.targets, self.task, self.recipe, **how)
        return model.state_dict()

    def starts_at(self, checkpoint: Path) -> tuple[int, dict[str, Tensor]]:
        """The step it goes on from, and the final weights."""
        events: list[Progress] = []
        weights = self.start(checkpoint, events.append)
        return int(events[0].done), weights


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


@pytest.fixture(params=["fine-tuned", "distilled"])
def trainer(request: pytest.FixtureRequest, toy: Toys, fresh: Models) -> Trainer:
    heads = ("sa_sdp", "sa_wma") if request.param == "fine-tuned" else ("sa_sdp", "l_dct", "c_5")
    return Trainer(toy, fresh, request.param == "distilled", heads)


@pytest.fixture
def tuner(toy: Toys, fresh: Models) -> Trainer:
    return Trainer(toy, fresh, False, ("sa_sdp", "sa_sdp"))


@pytest.mark.usefixtures("saves_each_step")
class TestInterrupted:
    @pytest.mark.parametrize("step", [1, 2, 4, 5, 9, 10])
    def test_once(self, trainer: Trainer, tmp_path: Path, step: int) -> None:
        with pytest.raises(Interrupted):
            trainer.start(tmp_path / "killed", until(step))
        done, resumed = trainer.starts_at(tmp_path / "killed")
        assert done == step - 1  # the interrupted step itself was not saved
        assert_equal(resumed, trainer.start(tmp_path / "whole"))

    def test_again_and_again(self, trainer: Trainer, tmp_path: Path) -> None:
        for step in (3, 4, 9):
            with pytest.raises(Interrupted):
                trainer.start(tmp_path / "killed", until(step))
        assert_equal(trainer.start(tmp_path / "killed"), trainer.start(tmp_path / "whole"))

    def test_at_every_step(self, tuner: Trainer, tmp_path: Path) -> None:
        for step in range(2, STEPS + 1):
            with pytest.raises(Interrupted):
                tuner.start(tmp_path / "killed", until(step))
        assert_equal(tuner.start(tmp_path / "killed"), tuner.start(tmp_path / "whole"))

    def test_after_the_end(self, trainer: Trainer, tmp_path: Path) -> None:
        """Killed before its model was saved elsewhere, a run repeats its last step only."""
        first = trainer.start(tmp_path)
        done, second = trainer.starts_at(tmp_path)
        assert done == STEPS - 1
        assert_equal(first, second)

    def test_a_full_disk_keeps_the_state_before(
        self, tuner: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(Interrupted):
            tuner.start(tmp_path / "killed", until(6))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", _no_space)
            with pytest.raises(OSError, match="No space"):
                tuner.start(tmp_path / "killed")
        assert [file.name for file in (tmp_path / "killed").iterdir()] == [STATE]
        done, resumed = tuner.starts_at(tmp_path / "killed")
        assert done == 5
        assert_equal(resumed, tuner.start(tmp_path / "whole"))

    def test_the_rest_of_a_killed_write_does_not_pile_up(
        self, tuner: Trainer, tmp_path: Path
    ) -> None:
        (tmp_path / f".{STATE}.partial").write_bytes(b"half a sta")
        tuner.start(tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == [STATE]

    def test_forget(self, tuner: Trainer, tmp_path: Path) -> None:
        tuner.start(tmp_path)
        forget(tmp_path)
        assert tuner.starts_at(tmp_path)[0] == 0
        forget(tmp_path / "never there")


def _no_space(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_short_run_writes_nothing(tuner: Trainer, tmp_path: Path) -> None:
    tuner.start(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.usefixtures("saves_each_step")
class TestForeignState:
    """A state is taken up only by the very run that wrote it."""

    def starts_anew(self, trainer: Trainer, other: Trainer, tmp_path: Path) -> None:
        with pytest.raises(Interrupted):
            trainer.start(tmp_path / "theirs", until(6))
        assert trainer.starts_at(tmp_path / "theirs")[0] > 0
        done, weights = other.starts_at(tmp_path / "theirs")
        assert done == 0
        assert_equal(weights, other.start(tmp_path / "own"))

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 8},
            {"learning_rate": 3.1e-3},
            {"epochs": 2.75},
            {"batch_size": 9},
            {"weight_decay": 0.0},
            {"warmup_fraction": 0.1},
            {"freeze_embeddings": True},
        ],
    )
    def test_another_recipe(
        self, toy: Toys, fresh: Models, tmp_path: Path, change: dict[str, float]
    ) -> None:
        one, other = (Trainer(toy, fresh, False, ("sa_sdp",)) for _ in range(2))
        other.recipe = dataclasses.replace(RECIPE, **change)  # type: ignore[arg-type]
        self.starts_anew(one, other, tmp_path)

    @pytest.mark.parametrize("part", ["input_ids", "attention_mask", "token_type_ids", "labels"])
    def test_other_rows(self, toy: Toys, fresh: Models, tmp_path: Path, part: str) -> None:
        one, other = (Trainer(toy, fresh, False, ("sa_sdp",)) for _ in range(2))
        changed = getattr(other.data, part).copy()
        changed[0] = 1 - changed[0].clip(0, 1)
        if part == "attention_mask":
            changed[0, 0] = 1  # no row is empty
        other.data = dataclasses.replace(other.data, **{part: changed})
        self.starts_anew(one, other, tmp_path)

    def test_rows_in_another_order(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        one, other = (Trainer(toy, fresh, False, ("sa_sdp",)) for _ in range(2))
        other.data = other.data[::-1]
        self.starts_anew(one, other, tmp_path)

    def test_other_first_weights(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        one, other = (Trainer(toy, fresh, False, ("sa_sdp",)) for _ in range(2))
        other.first_weights = 1
        self.starts_anew(one, other, tmp_path)

    def test_other_heads(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        one, other = (Trainer(toy, fresh, False, (kind,)) for kind in ("l_dft", "l_dct"))
        self.starts_anew(one, other, tmp_path)

    def test_another_teacher(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        one, other = (Trainer(toy, fresh, True, ("sa_sdp",)) for _ in range(2))
        assert other.targets is not None
        other.targets = Targets(-other.targets.logits)
        self.starts_anew(one, other, tmp_path)

    def test_labels_instead_of_a_teacher(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        one, other = (Trainer(toy, fresh, taught, ("sa_sdp",)) for taught in (True, False))
        self.starts_anew(one, other, tmp_path)


@pytest.mark.usefixtures("saves_each_step")
class TestDamagedState:
    @pytest.fixture
    def state(self, tuner: Trainer, tmp_path: Path) -> Path:
        with pytest.raises(Interrupted):
            tuner.start(tmp_path / "killed", until(6))
        return tmp_path / "killed" / STATE

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.9, 0.9999])
    def test_a_truncated_file_is_a_clean_start(
        self, tuner: Trainer, state: Path, share: float, tmp_path: Path
    ) -> None:
        data = state.read_bytes()
        state.write_bytes(data[: int(share * len(data))])
        done, weights = tuner.starts_at(state.parent)
        assert done == 0
        assert_equal(weights, tuner.start(tmp_path / "whole"))

    @pytest.mark.parametrize("content", [b"\0" * 4096, b"\xff" * 4096, b"PK\x03\x04 not ours"])
    def test_another_kind_of_file_too(self, tuner: Trainer, state: Path, content: bytes) -> None:
        state.write_bytes(content)
        assert tuner.starts_at(state.parent)[0] == 0

    def test_a_safetensors_file_of_somebody_else(self, tuner: Trainer, state: Path) -> None:
        import safetensors.torch

        safetensors.torch.save_file({"generator": torch.zeros(3)}, state)
        assert tuner.starts_at(state.parent)[0] == 0


SCRIPT = """
import json, sys
import numpy as np
from pathlib import Path
from edgetran_host.models.checkpoint import load_model
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Recipe, fine_tune, loop

folder = Path(sys.argv[1])
loop.SAVE_PERIOD_S = -1.0
model, _ = load_model(folder / "first")
rows = np.load(folder / "rows.npz")
data = Encoded(*(rows[name] for name in ("ids", "mask", "types", "labels")))
task = Task("classes", "classification", ("a", "b", "c"), False, "accuracy", (), ())
recipe = Recipe(**json.loads((folder / "recipe.json").read_text()))
fine_tune(model, data, task, recipe, checkpoint=folder / "killed",
          on_progress=lambda event: print(int(event.done), flush=True))
"""


def test_a_killed_process_is_continued_by_another(tuner: Trainer, tmp_path: Path) -> None:
    """SIGKILL leaves no time to tidy up; it may fall into the writing of the state."""
    save_model(tuner.fresh(OUTPUTS, heads=tuner.heads), tmp_path / "first", b"{}")
    data = tuner.data
    arrays = (data.input_ids, data.attention_mask, data.token_type_ids, data.labels)
    names = ("ids", "mask", "types", "labels")
    np.savez(tmp_path / "rows.npz", **dict(zip(names, arrays, strict=True)))
    (tmp_path / "recipe.json").write_text(json.dumps(dataclasses.asdict(RECIPE)))
    starts = []
    for at in (4, 8):
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            done = [int(process.stdout.readline())]
            while done[-1] < at:
                done.append(int(process.stdout.readline()))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        starts.append(done[0])
    assert starts[0] == 0
    assert starts[1] >= 3
    done_then, resumed = tuner.starts_at(tmp_path / "killed")
    assert done_then >= 7
    assert_equal(resumed, tuner.start(tmp_path / "whole"))
