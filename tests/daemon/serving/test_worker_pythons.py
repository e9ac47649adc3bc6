"""Workers in another Python than the daemon's: what it needs, what it says, what it serves."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from edgetran_daemon.main import main
from edgetran_daemon.runtimes import RUNTIMES
from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.serving.worker_process import Loaded, WorkerProcess
from edgetran_daemon.serving.worker_pythons import OWN, WorkerPythons
from edgetran_protos.errors import RuntimeFault

RUNTIME = "onnxruntime"
OLD = "3.6"  # of a Jetson Nano
BUILT_FOR_OLD = ("numpy==1.19.5", "onnxruntime==1.10.0")
PLATFORMS = ("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64")


def served(pythons: WorkerPythons, graph: Path, tokens: dict[str, Tensor]) -> tuple[Loaded, Tensor]:
    async def run() -> tuple[Loaded, Tensor]:
        worker, loaded = await WorkerProcess.start(RUNTIME, graph, 1, pythons=pythons)
        try:
            timed = await worker.time(tokens, runs=2, min_s=0.0, max_s=5.0, max_runs=2)
            assert len(timed.samples_s) == 2
            assert worker.peak_memory_bytes > 1 << 20
            return loaded, (await worker.run(tokens)).outputs["logits"]
        finally:
            await worker.stop()

    return asyncio.run(run())


@pytest.fixture
def graph(tmp_path: Path, tiny: ModuleType) -> Path:
    path = tmp_path / "graph"
    path.write_bytes(tiny.graph())
    return path


def test_another_python_serves_and_has_nothing_of_ours(
    other_python: Any,
    graph: Path,
    tiny: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = subprocess.run(
        [other_python.path, "-I", "-c", "import edgetran_daemon"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'edgetran_daemon'" in asked.stderr
    spoilt = tmp_path / "spoilt"
    (spoilt / "numpy").mkdir(parents=True)
    (spoilt / "numpy" / "__init__.py").write_text("raise SystemExit('of another Python')")
    traced = tmp_path / "traced"
    recorded = f'"$@" >> {traced}\nexec {other_python.path} "$@"\n'
    wrapper = tmp_path / "py thon"
    wrapper.write_text(f"#!/bin/sh\necho {recorded}")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(spoilt))
    pythons = WorkerPythons.of({RUNTIME: str(wrapper)})
    assert pythons.status(RUNTIME).unavailable == ""
    tokens = tiny.encode(tiny.TEXTS)
    loaded, logits = served(pythons, graph, tokens)
    np.testing.assert_allclose(logits, tiny.reference(tokens), atol=1e-5)
    assert loaded.runtime.startswith(RUNTIME)
    modules = [line.split()[1] for line in traced.read_text().splitlines()]
    assert modules == ["edgetran_daemon.worker.status", "edgetran_daemon.worker"]


def test_its_reason_is_its_own(other_python: Any) -> None:
    pythons = WorkerPythons.of({"openvino": str(other_python.path)})
    statuses = {status.name: status for status in pythons.statuses()}
    assert list(statuses) == list(RUNTIMES)
    assert statuses["openvino"].unavailable == "openvino is not installed"
    assert statuses[RUNTIME] == OWN.status(RUNTIME)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (None, "cannot be started: No such file"),
        ("#!/bin/sh\nexit 3\n", "cannot run a worker: it left with status 3"),
        ("#!/bin/sh\necho Python 2.7\n", "cannot run a worker"),
        ("#!/bin/sh\necho '[1]'\n", "cannot run a worker"),
        ("#!/bin/sh\necho 'no numpy here' >&2\nexit 1\n", "cannot run a worker: no numpy here"),
    ],
    ids=["absent", "fails", "talks", "talks-json", "complains"],
)
def test_a_python_that_is_none_is_a_reason(
    tmp_path: Path, graph: Path, program: str | None, reason: str
) -> None:
    path = tmp_path / "python"
    if program is not None:
        path.write_text(program)
        path.chmod(0o755)
    pythons = WorkerPythons.of({RUNTIME: str(path)})
    assert reason in pythons.status(RUNTIME).unavailable
    if program is None:
        with pytest.raises(RuntimeFault, match="cannot be started") as caught:
            served(pythons, graph, {})
        assert "worker_python" in caught.value.hint


def test_a_check_names_the_python_of_a_runtime(
    other_python: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--worker-python", f"{RUNTIME}={other_python.path} openvino={other_python.path}"]
    main(["--check", "--json", "--state", str(tmp_path), "--listen", "127.0.0.1:0", *settings])
    found = {finding["part"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found[f"runtime {RUNTIME}"]["state"] == "ok"
    assert found[f"runtime {RUNTIME}"]["detail"].endswith(str(other_python.path))
    assert found["runtime openvino"]["state"] == "warning"
    assert "needs numpy and openvino" in found["runtime openvino"]["hint"]


@pytest.fixture(scope="session")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python 3.6 with numpy and onnxruntime of its time; skips where they cannot be had."""
    found = sorted(Path.home().glob(f".pyenv/versions/{OLD}*/bin/python"))
    python = str(found[-1]) if found else shutil.which(f"python{OLD}")
    if python is None:
        pytest.skip(f"needs a Python {OLD}")
    folder = tmp_path_factory.mktemp("old")
    options = [f"--platform={platform}" for platform in PLATFORMS]
    got = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder),
            *("--python-version", OLD, "--abi", "cp36m", "--only-binary", ":all:", *options),
            *BUILT_FOR_OLD,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if not (folder / "onnxruntime").is_dir():
        pytest.skip(f"cannot install {BUILT_FOR_OLD}: {got.stderr[-300:]}")
    wrapper = folder / "python"
    wrapper.write_text(f'#!/bin/sh\nexport PYTHONPATH={folder}\nexec {python} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


@pytest.mark.slow  # downloads two packages
def test_the_oldest_python_serves(old_python: Path, graph: Path, tiny: ModuleType) -> None:
    pythons = WorkerPythons.of({RUNTIME: str(old_python)})
    model = onnx.load(graph)
    model.opset_import[0].version = 13  # its operators are the same, and the old runtime knows it
    onnx.save(model, graph)
    status = pythons.status(RUNTIME)
    assert (status.unavailable, status.version) == ("", "1.10.0")
    tokens = tiny.encode(tiny.TEXTS)
    loaded, logits = served(pythons, graph, tokens)
    np.testing.assert_allclose(logits, tiny.reference(tokens), atol=1e-5)
    assert loaded.runtime == f"{RUNTIME} 1.10.0"
    assert loaded.inputs[0].shape == (None, tiny.LENGTH)
