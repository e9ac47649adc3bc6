"""Several processes train as one does."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Recipe, fine_tune, precision

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]

SCRIPT = """
import os, sys
import numpy as np
import safetensors.torch
from pathlib import Path
from edgetran_host.models.checkpoint import load_model
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Recipe, fine_tune, loop, precision

precision.has_fast_bf16 = lambda: False  # it rounds parts of a batch in another way
folder, killed = Path(sys.argv[1]), int(sys.argv[2])
loop.SAVE_PERIOD_S = -1.0
model, _ = load_model(folder / "first")
rows = np.load(folder / "rows.npz")
data = Encoded(*(rows[name] for name in ("ids", "mask", "types", "labels")))
task = Task("classes", "classification", ("a", "b", "c"), False, "accuracy", (), ())

def listen(event):
    if os.environ["RANK"] == "0" and not event.done or killed and event.done >= killed:
        print("step", int(event.done), flush=True)
    if killed and event.done >= killed:
        os._exit(3)

recipe = Recipe(2, 8, 3e-3, accumulation=2, patience=5)
fine_tune(model, data, task, recipe, checkpoint=folder / "state", held_out=data[:9],
          on_progress=listen)
safetensors.torch.save_file(model.state_dict(), folder / f"{os.environ['RANK']}.safetensors")
"""


def launch(folder: Path, killed: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", str(folder / "script.py"), str(folder), str(killed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=120
    )


def prepared(folder: Path, model: TextModel, data: Encoded) -> None:
    folder.mkdir()
    save_model(model, folder / "first", b"{}")
    arrays = (data.input_ids, data.attention_mask, data.token_type_ids, data.labels)
    names = ("ids", "mask", "types", "labels")
    np.savez(folder / "rows.npz", **dict(zip(names, arrays, strict=True)))
    (folder / "script.py").write_text(SCRIPT)


@pytest.mark.slow
def test_two_processes(
    toy: Toys, fresh: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights on both, those of one process, and those after an interruption."""
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: False)
    task, data, _ = toy("classes", rows=41)  # the last batch has one row, so one has none
    first = TextModel(dataclasses.replace(fresh(3).config, dropout=0.0))
    for name in ("whole", "killed"):
        prepared(tmp_path / name, first, data)
    done = launch(tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    both = [safetensors.torch.load_file(tmp_path / "whole" / f"{i}.safetensors") for i in (0, 1)]
    alone, _ = load_model(tmp_path / "whole" / "first")
    recipe = Recipe(2, 8, 3e-3, accumulation=2, patience=5)
    fine_tune(alone, data, task, recipe, checkpoint=tmp_path / "alone", held_out=data[:9])
    for name, weight in alone.state_dict().items():
        assert torch.equal(both[0][name], both[1][name])
        torch.testing.assert_close(both[0][name], weight, atol=1e-4, rtol=1e-3, msg=name)

    assert launch(tmp_path / "killed", killed=7).returncode != 0
    again = launch(tmp_path / "killed")
    assert again.returncode == 0, again.stderr
    assert "step 0" not in again.stdout  # it went on
    resumed = safetensors.torch.load_file(tmp_path / "killed" / "1.safetensors")
    assert all(torch.equal(resumed[name], both[1][name]) for name in resumed)
