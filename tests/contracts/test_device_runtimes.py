"""Runtimes whose hardware is absent: the contract, on a real worker process and played modules.

A maker's module is played at the calls that the adapter makes (hardware/jetson, hardware/ncs2),
in another Python than the daemon's, and computes with ONNX Runtime. What is called in which
order is held against a transcript.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import edgetran
import numpy as np
import onnx
import pytest
from edgetran_daemon.runtimes.base import (
    InputRefused,
    Runtime,
    RuntimeFailure,
    Tensor,
    Tensors,
    TensorSpec,
)
from edgetran_daemon.serving.worker_pythons import WorkerPythons
from edgetran_daemon.worker import wire
from edgetran_host.export import export_variants
from edgetran_protos.bundle import Variant, Work, digest_of

HERE = Path(__file__).parent
HARDWARE = HERE / "hardware"
spec = importlib.util.spec_from_file_location("test_runtimes", HERE / "test_runtimes.py")
assert spec is not None
assert spec.loader is not None
contract = importlib.util.module_from_spec(spec)
spec.loader.exec_module(contract)

Environment = Mapping[str, object]


class PlayedWorker:
    """A worker process, asked as the daemon asks; one runtime after another may be loaded."""

    def __init__(self, runtime: str, python: Path) -> None:
        self.runtime = runtime
        self.pythons = WorkerPythons.of({runtime: str(python)})
        ours, theirs = socket.socketpair()
        heard, self._pipe = os.pipe()
        with theirs:
            self._process = subprocess.Popen(
                [*self.pythons.command(runtime), str(theirs.fileno()), "0", str(heard)],
                pass_fds=[theirs.fileno(), heard],
                env=self.pythons.environment(runtime),
            )
        os.close(heard)
        self._socket, self._reader = ours, ours.makefile("rb")

    def ask(self, header: wire.Header, tensors: Tensors) -> tuple[wire.Header, dict[str, Tensor]]:
        self._socket.sendall(b"".join(wire.pack(header, tensors)))
        length, _ = wire.read_prefix(self._reader.read(wire.PREFIX.size))
        layout = wire.read_header(self._reader.read(length))
        found = wire.unpack_tensors(layout, self._reader.read(layout.size_bytes))
        if not layout.header["ok"]:
            kind = InputRefused if layout.header["kind"] == "input" else RuntimeFailure
            raise kind(layout.header["message"])
        return layout.header, found

    def load(self, path: Path) -> wire.Header:
        request = {"op": "load", "runtime": self.runtime, "path": str(path), "threads": 1}
        return self.ask(request, {})[0]

    def close(self) -> None:
        self._reader.close()
        self._socket.close()
        os.close(self._pipe)
        assert self._process.wait(10) == 0


def kind_of(worker: PlayedWorker) -> type[Runtime]:
    """The runtime as it is in that process."""

    class Remote(Runtime):
        name = worker.runtime

        def __init__(self, path: str, threads: int) -> None:
            loaded = worker.load(Path(path))
            self._inputs, self._outputs = (
                [TensorSpec(raw["name"], raw["dtype"], tuple(raw["shape"])) for raw in loaded[side]]
                for side in ("inputs", "outputs")
            )

        @staticmethod
        def unavailable() -> str:
            return worker.pythons.status(worker.runtime).unavailable

        @staticmethod
        def version() -> str:
            return worker.pythons.status(worker.runtime).version

        @property
        def inputs(self) -> Sequence[TensorSpec]:
            return self._inputs

        @property
        def outputs(self) -> Sequence[TensorSpec]:
            return self._outputs

        def run(self, tensors: Tensors) -> Tensors:
            return self._run(tensors)

        def _run(self, tensors: Tensors) -> Tensors:
            return worker.ask({"op": "run"}, tensors)[1]

    return Remote


@pytest.fixture(scope="session")
def jetson(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What a Python needs to find a played GPU and TensorRT."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler to play CUDA's driver")
    folder = tmp_path_factory.mktemp("cuda")
    library, source = folder / "libcuda.so.1", HARDWARE / "cuda_driver.c"
    options = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([compiler, *options, "-o", library, source], check=True)
    return {"LD_LIBRARY_PATH": folder, "PYTHONPATH": HARDWARE / "jetson"}


@pytest.fixture(scope="session")
def ncs2() -> Environment:
    return {"PYTHONPATH": HARDWARE / "ncs2"}


@pytest.fixture(scope="module", params=["tensorrt", "myriad"])
def device(
    request: pytest.FixtureRequest,
    other_python: Any,
    jetson: Environment,
    ncs2: Environment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PlayedWorker]:
    environment = {"tensorrt": jetson, "myriad": ncs2}[request.param]
    path = tmp_path_factory.mktemp("played") / "python"
    worker = PlayedWorker(request.param, other_python.wrapped(path, environment))
    yield worker
    worker.close()


class TestPlayed(contract.RuntimeContract):  # type: ignore[name-defined,misc]
    @pytest.fixture
    def kind(self, device: PlayedWorker) -> type[Runtime]:
        assert device.pythons.status(device.runtime).unavailable == ""
        return kind_of(device)


@pytest.fixture(scope="session")
def openvino_2021(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last release with the plugin, in a Python of its time; skips where it cannot be had."""
    found = sorted(Path.home().glob(".pyenv/versions/3.9*/bin/python"))
    python = str(found[-1]) if found else shutil.which("python3.9")
    if python is None:
        pytest.skip("needs a Python 3.9")
    folder = tmp_path_factory.mktemp("openvino")
    options = ["--python-version", "3.9", "--only-binary", ":all:", "--target", folder]
    got = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *options, "openvino==2021.4.2"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not (folder / "openvino" / "inference_engine").is_dir():
        pytest.skip(f"cannot install openvino 2021.4.2: {got.stderr[-300:]}")
    wrapper = folder / "python"
    path = f"{folder}${{STICK:+:$STICK}}"
    wrapper.write_text(f'#!/bin/sh\nexport PYTHONPATH="{path}"\nexec {python} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


@pytest.fixture(scope="module")
def stickless(openvino_2021: Path) -> Iterator[PlayedWorker]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STICK", str(HARDWARE / "no_stick"))
        worker = PlayedWorker("myriad", openvino_2021)
        assert worker.pythons.status("myriad").version == "2021.4.2"
        yield worker
        worker.close()


@pytest.mark.slow  # downloads OpenVINO
class TestOpenVinoOf2021(contract.RuntimeContract):  # type: ignore[name-defined,misc]
    @pytest.fixture
    def kind(self, stickless: PlayedWorker) -> type[Runtime]:
        return kind_of(stickless)


@pytest.mark.slow
def test_an_exported_model_of_every_head_kind_runs_in_the_real_openvino(
    stickless: PlayedWorker, tmp_path: Path
) -> None:
    place = HERE.parent / "host" / "export" / "tiny_models.py"
    spec = importlib.util.spec_from_file_location("tiny_models", place)
    assert spec is not None
    assert spec.loader is not None
    tiny_models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny_models)
    rows = tiny_models.make_rows()
    model = tiny_models.make_model(tiny_models.MIXED, "relative")
    (exported,) = export_variants(model, rows, ["fp16"], tmp_path, "myriad")
    names = ("input_ids", "attention_mask", "token_type_ids")
    tokens = {name: getattr(rows, name) for name in names}
    found = kind_of(stickless)(str(exported.path), 1).run(tokens)["logits"]
    np.testing.assert_allclose(found, exported.logits, atol=1e-5)


@pytest.mark.slow
def test_without_a_stick_the_real_plugin_says_so(
    openvino_2021: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STICK", raising=False)
    pythons = WorkerPythons.of({"myriad": str(openvino_2021)})
    assert "no Neural Compute Stick 2 answers" in pythons.status("myriad").unavailable


@pytest.mark.parametrize(
    ("runtime", "more", "reason"),
    [
        ("tensorrt", {"PYTHONPATH": ""}, "tensorrt is not installed"),
        ("tensorrt", {"CUDA_DEVICES": 0}, "no CUDA-capable device is detected"),
        ("tensorrt", {"TENSORRT_VERSION": "7.1.3"}, "TensorRT 7.1.3 is not one of 8 to 9"),
        ("tensorrt", {"TENSORRT_VERSION": "10.3.0"}, "TensorRT 10.3.0 is not one of 8 to 9"),
        ("myriad", {"PYTHONPATH": ""}, "openvino 2021.4.2 is not installed"),
        ("myriad", {"NCS2_STICKS": 0}, "no Neural Compute Stick 2 answers"),
    ],
)
def test_what_is_missing_is_said(
    runtime: str,
    more: dict[str, object],
    reason: str,
    other_python: Any,
    jetson: Environment,
    ncs2: Environment,
    tmp_path: Path,
) -> None:
    environment = {**{"tensorrt": jetson, "myriad": ncs2}[runtime], **more}
    python = other_python.wrapped(tmp_path / "python", environment)
    assert reason in WorkerPythons.of({runtime: str(python)}).status(runtime).unavailable


@pytest.mark.parametrize("runtime", ["tensorrt", "myriad"])
def test_the_calls_are_those_of_the_transcript(
    runtime: str,
    other_python: Any,
    jetson: Environment,
    ncs2: Environment,
    tmp_path: Path,
    tiny: ModuleType,
) -> None:
    """Twice in a new process each: an engine is built once, and kept."""
    environment = {"tensorrt": jetson, "myriad": ncs2}[runtime]
    played, graph = tmp_path / "played", tmp_path / "graph"
    environment = {**environment, "DEVICE_TRANSCRIPT": played}
    python = other_python.wrapped(tmp_path / "python", environment)
    contract.write_onnx(tiny, graph)
    tokens = {name: np.repeat(rows, 6, axis=0) for name, rows in tiny.encode(tiny.TEXTS).items()}
    wanted = tiny.reference(tokens)
    parts = []
    for _ in range(2):
        worker = PlayedWorker(runtime, python)
        model = kind_of(worker)(str(graph), 1)
        np.testing.assert_allclose(model.run(tokens)["logits"], wanted, atol=1e-5)
        worker.close()
        parts.append(played.read_text())
        played.unlink()
    if runtime == "tensorrt":
        assert len(list(tmp_path.glob("graph.*-tensorrt8.2.1.8-sm53.engine"))) == 1
    assert "\n".join(parts) == (HARDWARE / f"{runtime}.transcript").read_text()


@pytest.mark.parametrize("spoil", ["version", "gpu", "bytes", "graph"])
def test_an_engine_of_another_kind_is_not_used(
    spoil: str, other_python: Any, jetson: Environment, tmp_path: Path, tiny: ModuleType
) -> None:
    graph, played = tmp_path / "graph", tmp_path / "played"
    environment: Environment = {**jetson, "DEVICE_TRANSCRIPT": played}
    contract.write_onnx(tiny, graph)
    worker = PlayedWorker("tensorrt", other_python.wrapped(tmp_path / "python", environment))
    worker.load(graph)
    worker.close()
    (engine,) = tmp_path.glob("graph.*")
    played.unlink()
    more = {"version": {"TENSORRT_VERSION": "8.6.2.3"}, "gpu": {"CUDA_SM": 87}}.get(spoil, {})
    if spoil == "bytes":
        engine.write_bytes(b"rotten" + engine.read_bytes())
    if spoil == "graph":
        graph.write_bytes(tiny.graph(seed=1))
    path = other_python.wrapped(tmp_path / "python", {**environment, **more})
    worker = PlayedWorker("tensorrt", path)
    tokens = tiny.encode(tiny.TEXTS)
    logits = kind_of(worker)(str(graph), 1).run(tokens)["logits"]
    worker.close()
    np.testing.assert_allclose(logits, tiny.reference(tokens, int(spoil == "graph")), atol=1e-5)
    assert played.read_text().count("build_serialized_network") == 1
    assert len(list(tmp_path.glob("graph.*"))) == (1 if spoil == "bytes" else 2)


def test_half_precision_is_for_graphs_that_ask_for_it(
    other_python: Any, jetson: Environment, tmp_path: Path, tiny: ModuleType
) -> None:
    graph, played = tmp_path / "graph", tmp_path / "played"
    model = onnx.load_from_string(tiny.graph())
    onnx.helper.set_model_props(model, {"edgetran.precision": "fp16"})
    onnx.save(model, graph)
    environment: Environment = {**jetson, "DEVICE_TRANSCRIPT": played}
    worker = PlayedWorker("tensorrt", other_python.wrapped(tmp_path / "python", environment))
    tokens = tiny.encode(tiny.TEXTS)
    logits = kind_of(worker)(str(graph), 1).run(tokens)["logits"]
    worker.close()
    assert "set_flag FP16" in played.read_text().splitlines()
    np.testing.assert_array_equal(logits, tiny.reference(tokens).astype(np.float16))


@pytest.mark.parametrize("runtime", ["tensorrt", pytest.param("myriad", marks=pytest.mark.slow)])
def test_a_daemon_deploys_by_measuring_and_serves(
    runtime: str,
    other_python: Any,
    jetson: Environment,
    ncs2: Environment,
    tmp_path: Path,
    tiny: ModuleType,
) -> None:
    """The daemon's own Python has the runtime not; the played device's is chosen from."""
    environment = {"tensorrt": jetson, "myriad": ncs2}[runtime]
    python = other_python.wrapped(tmp_path / "python", environment)
    name = f"{runtime}-fp32"
    data = tiny.graph()
    work = Work(24.0, 0.0, 512.0, 48.0, 192.0, 8)
    variant = Variant(name, runtime, "fp32", digest_of(data), len(data), work, 1e-6, 0.0)
    bundle = tiny.make(
        tmp_path / "t.tar", others=[(variant, data)], max_accuracy_cost=0.1, accuracy_cost=0.0
    )
    ready, state = tmp_path / "ready.json", tmp_path / "state"
    command = [
        *(sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0", "--threads", "1"),
        *("--state", str(state), "--ready-file", str(ready)),
        *("--worker-python", f"{runtime}={python}"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            address = json.loads(ready.read_text())["address"]
            with edgetran.connect(address) as board:
                status = {found.name: found for found in board.describe().runtimes}[runtime]
                assert (bool(status.version), status.unavailable) == (True, "")
                board.deploy(bundle, model="home")
                (chosen,) = board.deployments()
                assert name in chosen.reason
                assert "onnxruntime-fp32" in chosen.reason
                board.deploy(bundle, model="home", variant=name)
                tokens = tiny.encode(tiny.TEXTS)
                logits = board.infer("home", tokens)["logits"]
                np.testing.assert_allclose(logits, tiny.reference(tokens), atol=1e-5)
                (record,) = board.measure(
                    [(bundle.digest, name)],
                    blocks=2, runs=3, min_block_s=0.01, warmup_runs=2,
                )  # fmt: skip
                assert record.runtime.startswith(f"{runtime} ")
        finally:
            process.terminate()
    assert process.returncode == 0
