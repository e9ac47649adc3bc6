"""A finished run is packed from what it keeps: alike at any time, in any place."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import edgetran
import pytest
from click.testing import CliRunner
from edgetran.progress import Progress
from edgetran_host.cli.pack import pack
from edgetran_host.inspecting import check
from edgetran_host.job.config import JobConfig
from edgetran_host.job.deploying import put_on_board
from edgetran_host.job.releasing import CHOSEN, REFINED, pack_run
from edgetran_host.job.run_directory import RunDirectory
from edgetran_protos.bundle import Bundle, Claim
from edgetran_protos.errors import UsageError

CONFIG = JobConfig(data="intents", seed="minilm", target="nano", effort="quick", model="home")
SCORES = {"metric": "accuracy", "value": 0.9, "low": 0.85, "high": 0.94, "others": {}}
QUANTITY = {"value": 0.01, "low": 0.009, "high": 0.011}
RECORD: dict[str, Any] = {
    "board": "rpi4",
    "unit": "cpu",
    "modelled": False,
    "artefact_bytes": 1234,
    "peak_memory_bytes": 1 << 20,
    "document": {"schema": "edgetran.measurement/1"},
    **dict.fromkeys(("latency_p50_s", "latency_p95_s", "latency_p99_s"), QUANTITY),
    "energy_j": {"value": 0.2, "low": None, "high": None},
    "peak_power_w": None,
}
PACK = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[1], 8))
from edgetran_host.job.releasing import pack_run
print(pack_run(Path(sys.argv[2]), Path(sys.argv[3])).digest)
"""


def finished(path: Path, tiny: ModuleType, record: dict[str, Any], seed: int = 0) -> RunDirectory:
    """What a deploy job leaves, as far as packing reads it."""
    run = RunDirectory.create(path, CONFIG)
    packed = tiny.make(run.folder(CHOSEN) / "home.tar", seed=seed)
    run.finish("data", {"task": "intents"})
    run.finish("release", {"sequence": 1_800_000_000})
    records = {v.name: {**record, "variant": v.name} for v in packed.card.variants}
    run.finish("measurements", {"offers": records})
    for name in records:
        run.finish(f"offer-{name}", {"scores": SCORES})
    run.write_result({"rows": []})
    return run


@pytest.fixture
def run(tmp_path: Path, tiny: ModuleType) -> RunDirectory:
    return finished(tmp_path / "run", tiny, RECORD)


def test_it_promises_what_was_measured(run: RunDirectory, tmp_path: Path) -> None:
    card = check(pack_run(run.path, tmp_path / "out.tar").path).card
    variant = card.variants[0].name
    protocol = "edgetran.measurement/1"
    latency = Claim("", 0.01, 0.009, 0.011, True, "rpi4:cpu", variant, 0.95, protocol)
    assert card.sequence == 1_800_000_000
    assert card.claims == [
        Claim("accuracy", 0.9, 0.85, 0.94, True, "", variant, 0.95, "edgetran.score/1"),
        Claim("artefact_bytes", 1234, None, None, True, "", variant),
        *(dataclasses.replace(latency, metric=f"latency_p{p}_s") for p in (50, 95, 99)),
        Claim("energy_j", 0.2, None, None, True, "rpi4:cpu", variant, None, protocol),
        Claim("peak_memory_bytes", 1 << 20, None, None, True, "rpi4:cpu", variant, None, protocol),
    ]


def test_an_emulated_board_promises_no_memory(tmp_path: Path, tiny: ModuleType) -> None:
    run = finished(tmp_path / "run", tiny, {**RECORD, "modelled": True})
    claims = {c.metric: c.measured for c in pack_run(run.path, tmp_path / "out").card.claims}
    assert "peak_memory_bytes" not in claims
    assert (claims["energy_j"], claims["accuracy"]) == (False, True)


def test_elsewhere_later_and_with_another_umask_it_is_the_same(
    run: RunDirectory, tmp_path: Path
) -> None:
    here = pack_run(run.path, tmp_path / "out.tar")
    moved = Path(shutil.copytree(run.path, tmp_path / "deep" / "moved"))
    for file in moved.rglob("*.json"):
        os.utime(file, (1e9, 1e9))
    for at, (umask, zone, out) in enumerate(
        [("077", "Asia/Tokyo", "a.tar"), ("000", "America/Lima", "folder")]
    ):
        path = tmp_path / f"place-{at}" / out
        done = subprocess.run(
            [sys.executable, "-c", PACK, umask, moved, path],
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": str(at + 1)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here.digest
        assert check(path).digest == here.digest
    assert (tmp_path / "place-0" / "a.tar").read_bytes() == here.path.read_bytes()


def test_a_refined_run_gives_what_the_refinement_served(
    run: RunDirectory, tmp_path: Path, tiny: ModuleType
) -> None:
    searched = pack_run(run.path, tmp_path / "searched.tar")
    refined = RunDirectory.create(run.path / REFINED, CONFIG)
    refined.write_result({"refinement": {"best": 0}})
    assert pack_run(run.path, tmp_path / "unmoved.tar").digest == searched.digest
    finished(refined.path / "node-3", tiny, RECORD, seed=1)
    refined.write_result({"refinement": {"best": 3}})
    found = pack_run(run.path, tmp_path / "refined.tar")
    assert found.card.architecture_id == "tiny-1"
    assert searched.card.architecture_id == "tiny-0"


def test_a_board_that_another_measures_on_is_waited_for(run: RunDirectory, own_home: Path) -> None:
    packed = Bundle.open(run.path / CHOSEN / "home.tar")
    variant = packed.card.variants[0].name
    told: list[Progress] = []
    with edgetran.connect("nano", threads=1) as board, edgetran.connect("nano") as other:
        work: Any = SimpleNamespace(
            run=run, board=board, served_name="home", allow_older=False, on_progress=told.append
        )
        offers: Any = SimpleNamespace(bundle=packed)
        with contextlib.ExitStack() as held:
            held.enter_context(other.lease(holder="the nightly"))
            threading.Timer(0.5, held.close).start()
            assert put_on_board(work, offers, variant)
        (serving,) = board.deployments()
    assert (serving.model, serving.variant) == ("home", variant)
    assert "the nightly" in next(event.detail for event in told if event.stage == "lease")


def test_what_the_refinement_serves_stays(run: RunDirectory, tiny: ModuleType) -> None:
    """And is said to, so that its answers are not taken for the searched model's."""
    refined = tiny.make(run.folder(REFINED) / "bundle.tar", seed=1)
    serving = SimpleNamespace(model="home", bundle_digest=refined.digest, variant="any")
    work: Any = SimpleNamespace(
        run=run, board=SimpleNamespace(deployments=lambda: [serving]), served_name="home"
    )
    offers: Any = SimpleNamespace(bundle=Bundle.open(run.path / CHOSEN / "home.tar"))
    assert not put_on_board(work, offers, "any")


@pytest.mark.parametrize("missing", ["release", "measurements", "offer-onnxruntime-fp32"])
def test_an_unfinished_run_is_said_to_be(run: RunDirectory, tmp_path: Path, missing: str) -> None:
    (run.path / "stages" / f"{missing}.json").unlink()
    with pytest.raises(UsageError) as caught:
        pack_run(run.path, tmp_path / "out.tar")
    assert "edgetran deploy" in caught.value.hint
    assert not (tmp_path / "out.tar").exists()


def test_the_command_takes_the_newest_run(run: RunDirectory, tmp_path: Path) -> None:
    words = ["--runs", str(tmp_path), "--out", str(tmp_path / "out.tar"), "--json"]
    done = CliRunner().invoke(pack, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["digest"] == Bundle.open(tmp_path / "out.tar").digest
