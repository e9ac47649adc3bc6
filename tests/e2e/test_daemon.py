"""A real daemon in its own process, spoken to over raw stubs."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import ERROR_KEY
from edgetran_protos.generated.edgetran.v1 import (
    deployment_pb2 as dep,
)
from edgetran_protos.generated.edgetran.v1 import (
    device_pb2,
    measurement_pb2,
    text_pb2,
)
from edgetran_protos.generated.edgetran.v1.deployment_pb2_grpc import DeploymentServiceStub
from edgetran_protos.generated.edgetran.v1.device_pb2_grpc import DeviceServiceStub
from edgetran_protos.generated.edgetran.v1.measurement_pb2_grpc import MeasurementServiceStub
from edgetran_protos.generated.edgetran.v1.text_pb2_grpc import TextServiceStub
from edgetran_protos.open_inference import SERVICE, message

START_S = 30.0
STEPS = ["verify", "stage", "probe", "canary", "switch", "watch"]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = _load(Path(__file__).parents[1] / "daemon" / "tiny_bundle.py")


class Client:
    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.process = process
        self.address = address
        self.channel = grpc.insecure_channel(address)
        self.deployment = DeploymentServiceStub(self.channel)
        self.device = DeviceServiceStub(self.channel)
        self.measurement = MeasurementServiceStub(self.channel)
        self.text = TextServiceStub(self.channel)

    def upload(self, bundle: Bundle) -> None:
        refs = [
            dep.BlobRef(digest=b.digest, size_bytes=b.size_bytes) for b in bundle.transfer_blobs()
        ]
        missing = self.deployment.MissingBlobs(dep.MissingBlobsRequest(blobs=refs)).missing
        lacking = {entry.digest: entry.offset for entry in missing}
        for ref in refs:
            if ref.digest in lacking:
                self.put(ref, bundle.read(ref.digest)[lacking[ref.digest] :], lacking[ref.digest])

    def put(self, ref: dep.BlobRef, data: bytes, offset: int = 0) -> dep.PutBlobResponse:
        half = len(data) // 2
        return self.deployment.PutBlob(
            iter(
                [
                    dep.PutBlobRequest(blob=ref, offset=offset, chunk=data[:half]),
                    dep.PutBlobRequest(chunk=data[half:]),
                ]
            )
        )

    def deploy(self, bundle: Bundle, model: str = "home") -> list[Any]:
        self.upload(bundle)
        return list(
            self.deployment.Deploy(dep.DeployRequest(model=model, bundle_digest=bundle.digest))
        )

    def serving(self) -> dict[str, str]:
        found = self.deployment.ListDeployments(dep.ListDeploymentsRequest()).deployments
        return {entry.model: entry.bundle_digest for entry in found if entry.state == "serving"}

    def predict(self, *texts: str, model: str = "") -> text_pb2.PredictResponse:
        inputs = [text_pb2.TextInput(text=text) for text in texts]
        return self.text.Predict(text_pb2.PredictRequest(model=model, inputs=inputs))

    def infer(self, request: Any) -> Any:
        call = self.channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=message("ModelInferRequest").SerializeToString,
            response_deserializer=message("ModelInferResponse").FromString,
        )
        return call(request)

    def measure(self, bundle: Bundle, **options: Any) -> Any:
        subjects = [measurement_pb2.Subject(bundle_digest=bundle.digest)]
        request = measurement_pb2.MeasureRequest(subjects=subjects, **options)
        events = list(self.measurement.Measure(request))
        stages = {event.progress.stage for event in events if event.HasField("progress")}
        assert stages == {"load", "warm-up", "measure"}
        return events[-1].record


@contextmanager
def daemon(state: Path, *options: str) -> Iterator[Client]:
    ready = state / "ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    command += ["--state", str(state), "--ready-file", str(ready), "--threads", "1", *options]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None, "the daemon ended early"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        client = Client(process, json.loads(ready.read_text())["address"])
        with client.channel:
            yield client
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny.make(tmp_path / "bundle")


def error_name(error: grpc.RpcError) -> str:
    return dict(error.trailing_metadata())[ERROR_KEY]


def test_deploy_predict_and_infer(state: Path, bundle: Bundle) -> None:
    with daemon(state) as client:
        events = client.deploy(bundle)
        assert [event.step for event in events] == STEPS
        assert events[-1].deployment.state == "serving"

        answer = client.predict("turn on the light", "heat on")
        wanted = tiny.reference(tiny.encode([["turn on the light"], ["heat on"]]))
        assert [p.label for p in answer.predictions] == [
            tiny.LABELS[i] for i in wanted.argmax(axis=1)
        ]
        assert sum(answer.predictions[0].scores.values()) == pytest.approx(1)
        assert not answer.emulated
        assert not answer.HasField("modelled_infer_s")

        tokens = tiny.encode(tiny.TEXTS)
        for raw in (True, False):
            request = message("ModelInferRequest")(model_name="home", id="7")
            for name, values in tokens.items():
                tensor = request.inputs.add(name=name, datatype="INT64", shape=values.shape)
                if raw:
                    request.raw_input_contents.append(values.tobytes())
                else:
                    tensor.contents.int64_contents.extend(values.ravel().tolist())
            reply = client.infer(request)
            got = (
                np.frombuffer(reply.raw_output_contents[0], np.float32)
                if raw
                else np.array(reply.outputs[0].contents.fp32_contents)
            )
            np.testing.assert_allclose(
                got.reshape(reply.outputs[0].shape), tiny.reference(tokens), atol=1e-5
            )


def test_bad_requests_name_the_error(state: Path, bundle: Bundle) -> None:
    with daemon(state) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.predict("anything")
        assert error_name(caught.value) == "UnknownModel"
        client.deploy(bundle)
        with pytest.raises(grpc.RpcError) as caught:
            client.predict()
        assert error_name(caught.value) == "InputError"
        request = message("ModelInferRequest")(model_name="home")
        request.inputs.add(name="input_ids", datatype="BYTES", shape=[1])
        with pytest.raises(grpc.RpcError) as caught:
            client.infer(request)
        assert error_name(caught.value) == "InputError"
        request = message("ModelInferRequest")(model_name="home")
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            request.inputs.add(name=name, datatype="INT64", shape=[1, 8])
            request.raw_input_contents.append(np.full((1, 8), 10_000, np.int64).tobytes())
        with pytest.raises(grpc.RpcError) as caught:
            client.infer(request)
        assert error_name(caught.value) == "InputError"
        with pytest.raises(grpc.RpcError) as caught:
            list(client.deployment.Deploy(dep.DeployRequest(model="../x", bundle_digest="y")))
        assert error_name(caught.value) == "UsageError"
        asked = dep.DeployRequest(
            model="home",
            bundle_digest=bundle.digest,
            variant="\N{HUGGING FACE}" * 2000,  # twelve bytes each in a header
        )
        with pytest.raises(grpc.RpcError) as caught:
            list(client.deployment.Deploy(asked))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert error_name(caught.value) == "UnknownVariant"


def test_a_corrupted_upload_is_refused_and_a_broken_one_resumed(
    state: Path, bundle: Bundle
) -> None:
    blob = max(bundle.blobs, key=lambda b: b.size_bytes)
    ref, data = (
        dep.BlobRef(digest=blob.digest, size_bytes=blob.size_bytes),
        bundle.read(blob.digest),
    )
    with daemon(state) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.put(ref, data[:-1] + bytes([data[-1] ^ 1]))
        assert error_name(caught.value) == "BundleCorrupt"
        assert not list((state / "partial").iterdir())

        with pytest.raises(grpc.RpcError):
            client.put(ref, data[:100])
        missing = client.deployment.MissingBlobs(dep.MissingBlobsRequest(blobs=[ref])).missing
        assert missing[0].offset == 100
        assert client.put(ref, data[100:], 100).size_bytes == len(data)
        assert not client.deployment.MissingBlobs(dep.MissingBlobsRequest(blobs=[ref])).missing


def test_a_failed_probe_keeps_the_old_model(state: Path, bundle: Bundle, tmp_path: Path) -> None:
    broken = tiny.make(tmp_path / "broken", seed=1, wrong_by=1.0)
    with daemon(state) as client:
        client.deploy(bundle)
        with pytest.raises(grpc.RpcError) as caught:
            client.deploy(broken)
        assert error_name(caught.value) == "ProbeFailed"
        assert client.serving() == {"home": bundle.digest}
        assert client.predict("heat on").bundle_digest == bundle.digest
        history = client.deployment.ListDeployments(
            dep.ListDeploymentsRequest(history=True)
        ).deployments
        assert [e.state for e in history] == ["serving", "failed"]
        assert "differ" in history[-1].reason
        client.deployment.Discard(dep.DiscardRequest(bundle_digest=broken.digest))
        assert client.predict("heat on").bundle_digest == bundle.digest  # shared blobs stayed


def test_rollback_and_remove(state: Path, bundle: Bundle, tmp_path: Path) -> None:
    second = tiny.make(tmp_path / "second", seed=1)
    with daemon(state) as client:
        client.deploy(bundle)
        client.deploy(second)
        assert client.predict("heat on").bundle_digest == second.digest
        back = client.deployment.Rollback(dep.RollbackRequest(model="home", reason="worse"))
        assert back.bundle_digest == bundle.digest
        assert client.predict("heat on").bundle_digest == bundle.digest
        freed = client.deployment.Remove(dep.RemoveRequest(model="home")).freed_bytes
        assert freed > 0
        assert client.serving() == {}


def test_killed_daemon_serves_the_same_model_again(state: Path, bundle: Bundle) -> None:
    with daemon(state) as client:
        client.deploy(bundle)
        workers = psutil.Process(client.process.pid).children()
        client.process.kill()
        client.process.wait()
        assert not psutil.wait_procs(workers, timeout=5)[1], "workers outlived the daemon"
    with daemon(state) as client:
        assert client.serving() == {"home": bundle.digest}
        assert client.predict("heat on").predictions[0].label in tiny.LABELS


def test_a_daemon_that_is_stopped_while_it_starts_blames_no_model(
    state: Path, bundle: Bundle, tmp_path: Path
) -> None:
    second = tiny.make(tmp_path / "second", seed=1)
    with daemon(state, "--watch", "0") as client:
        client.deploy(bundle)
        client.deploy(second)
    ledger = state / "deployments.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    for _ in range(4):  # one more than a daemon may end soon after its start
        process = subprocess.Popen([*command, "--state", str(state)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not json.loads(ledger.read_bytes())["starts"]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.terminate()
        assert process.wait(20) == 0
        assert json.loads(ledger.read_bytes())["starts"] == 0
    with daemon(state) as client:
        assert client.serving() == {"home": second.digest}


def test_broken_current_falls_back_at_start(state: Path, bundle: Bundle, tmp_path: Path) -> None:
    second = tiny.make(tmp_path / "second", seed=1)
    with daemon(state) as client:
        client.deploy(bundle)
        client.deploy(second)
    graph = second.card.variants[0].digest.partition(":")[2]
    (state / "blobs" / "sha256" / graph).write_bytes(b"rotten")
    with daemon(state) as client:
        assert client.serving() == {"home": bundle.digest}


def test_killed_worker_is_replaced(state: Path, bundle: Bundle) -> None:
    with daemon(state) as client:
        client.deploy(bundle)
        (worker,) = psutil.Process(client.process.pid).children()
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.05)
        assert client.predict("heat on").predictions[0].label in tiny.LABELS


def test_measure_this_machine(state: Path, bundle: Bundle) -> None:
    with daemon(state) as client:
        client.upload(bundle)
        record = client.measure(bundle, runs=20, blocks=2, min_block_s=0.05)
    assert not record.modelled
    assert record.verdict in {"valid", "suspect", "invalid"}
    assert (record.verdict == "valid") == (not record.reasons)
    assert len(record.samples_s) >= 40
    p50, p95 = record.latency_p50_s, record.latency_p95_s
    assert 0 < p50.low <= p50.value <= p50.high
    assert p50.value <= p95.value
    assert p50.value == pytest.approx(np.median(record.samples_s), rel=1e-3)
    assert record.peak_memory_bytes > 1 << 20
    assert (record.board, record.sequence_length, record.threads) == ("local", 8, 1)


def test_measure_emulated(state: Path, bundle: Bundle) -> None:
    with daemon(state, "--emulate", "nano") as client:
        client.deploy(bundle)
        info = client.device.Describe(device_pb2.DescribeRequest())
        assert (info.board, info.emulated) == ("jetson-nano", True)
        record = client.measure(bundle)
        assert record.modelled
        assert record.verdict == "modelled"
        assert record.source
        assert not record.samples_s
        assert record.energy_j.low < record.energy_j.value < record.energy_j.high
        answer = client.predict("heat on")
        assert answer.emulated
        assert answer.modelled_infer_s == pytest.approx(record.latency_p50_s.value)
        samples = client.device.Telemetry(device_pb2.TelemetryRequest(period_s=0.1))
        sample = next(samples)
        samples.cancel()
        assert sample.modelled
        assert sample.power_w > 0


def test_port_in_use_and_state_in_use_are_one_line(state: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = _refused("--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--state", str(state))
    assert "cannot listen" in found
    with daemon(state):
        assert "works in" in _refused("--listen", "127.0.0.1:0", "--state", str(state))
    assert "--insecure" in _refused("--listen", "0.0.0.0:0", "--state", str(state))
    assert "did you mean" in _refused("--emulate", "nanoo", "--state", str(state))


def _refused(*options: str) -> str:
    command = [sys.executable, "-m", "edgetran_daemon", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr
    return done.stderr


def test_leaves_when_idle(state: Path) -> None:
    with daemon(state, "--idle-exit", "0.5") as client:
        assert client.process.wait(10) == 0
    assert not (state / "ready.json").exists()


def test_stays_while_a_process_holds_on_to_it(state: Path) -> None:
    """As the SDK does with daemons of its own: a training between two calls may take hours."""
    state.mkdir(exist_ok=True)
    with (state / "users.lock").open("a") as user:
        fcntl.flock(user, fcntl.LOCK_SH)
        with daemon(state, "--idle-exit", "0.2") as client:
            with pytest.raises(subprocess.TimeoutExpired):
                client.process.wait(2)
            user.close()
            assert client.process.wait(10) == 0
