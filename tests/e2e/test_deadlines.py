"""Clients whose deadline passes, or who hang up: what they asked for is computed no further.

The model is a real graph with a run that takes hours when a mask has a 2 in it, so a daemon that
let it end would answer nobody else in this test.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import edgetran
import grpc
import numpy as np
import psutil
import pytest
from edgetran_protos.bundle import Variant, Work, digest_of
from edgetran_protos.open_inference import SERVICE, message, methods

START_S = 30.0
SOON_S = 0.3
PATIENCE_S = 60.0
ENDLESS = "onnxruntime-endless"
MODELS = ("batched", "plain")


@contextmanager
def serving(folder: Path, tiny: ModuleType) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A daemon that serves the same graph with and without shared runs, and its address."""
    ready, graph = folder / "ready.json", tiny.endless_graph()
    work = Work(24.0, 0.0, 512.0, 48.0, 192.0, 8)
    variant = Variant(ENDLESS, "onnxruntime", "fp32", digest_of(graph), len(graph), work, 1e-6)
    bundle = tiny.make(folder / "tiny.tar", others=[(variant, graph)])
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0", "--threads", "1"]
    command += ["--state", str(folder / "state"), "--ready-file", str(ready)]
    process = subprocess.Popen([*command, "--batching", "batched=12:1", "--watch", "0"])
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        address = json.loads(ready.read_text())["address"]
        with edgetran.connect(address) as board:
            for model in MODELS:
                board.deploy(bundle, model=model, variant=ENDLESS)
        yield process, address
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Iterator[grpc.Channel]:
    folder = tmp_path_factory.mktemp("deadlines")
    with serving(folder, tiny) as (_, address), grpc.insecure_channel(address) as found:
        yield found


def infer(channel: grpc.Channel) -> Any:
    method = methods()["ModelInfer"]
    return channel.unary_unary(
        f"/{SERVICE}/ModelInfer", method.request.SerializeToString, method.response.FromString
    )


def asked(model: str, tokens: dict[str, np.ndarray], endless: bool) -> Any:
    request = message("ModelInferRequest")(model_name=model)
    for name, rows in tokens.items():
        values = 2 * rows if endless and name == "attention_mask" else rows
        request.inputs.add(name=name, datatype="INT64", shape=values.shape)
        request.raw_input_contents.append(values.tobytes())
    return request


def executions(channel: grpc.Channel, model: str) -> int:
    method = methods()["ModelStatistics"]
    call = channel.unary_unary(
        f"/{SERVICE}/ModelStatistics", method.request.SerializeToString, method.response.FromString
    )
    return int(call(method.request(name=model)).model_stats[0].execution_count)


def code(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    found: grpc.StatusCode = error.code()
    return found


@pytest.mark.parametrize("model", MODELS)
def test_a_deadline_ends_what_runs_and_takes_what_waits_out_of_the_queue(
    channel: grpc.Channel, tiny: ModuleType, model: str
) -> None:
    tokens = tiny.encode(tiny.TEXTS)
    endless, quick = asked(model, tokens, endless=True), asked(model, tokens, endless=False)
    before = executions(channel, model)
    late = grpc.StatusCode.DEADLINE_EXCEEDED
    assert code(lambda: infer(channel)(endless, timeout=SOON_S)) is late
    found = infer(channel)(quick, timeout=PATIENCE_S)
    logits = np.frombuffer(found.raw_output_contents[0], np.float32).reshape(-1, len(tiny.LABELS))
    np.testing.assert_allclose(logits, tiny.reference(tokens), atol=1e-5)

    running = infer(channel).future(endless, timeout=PATIENCE_S)
    waiting = [infer(channel).future(quick, timeout=SOON_S) for _ in range(8)]
    assert {code(one.result) for one in waiting} == {late}
    running.cancel()
    infer(channel)(quick, timeout=PATIENCE_S)
    assert executions(channel, model) == before + 2, "the two that were answered"


def test_a_client_that_hangs_up_ends_what_its_stream_asked_for(
    channel: grpc.Channel, tiny: ModuleType
) -> None:
    tokens = tiny.encode(tiny.TEXTS)
    method = methods()["ModelStreamInfer"]
    stream = channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer",
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )
    requests = [asked("plain", tokens, endless) for endless in (False, True, True)]
    call = stream(iter(requests), timeout=PATIENCE_S)
    assert not next(call).error_message
    call.cancel()
    infer(channel)(requests[0], timeout=PATIENCE_S)


def test_a_daemon_that_is_killed_leaves_nothing_that_computes(
    tmp_path: Path, tiny: ModuleType
) -> None:
    with serving(tmp_path, tiny) as (process, address), grpc.insecure_channel(address) as channel:
        workers = psutil.Process(process.pid).children()
        assert len(workers) == len(MODELS)
        endless = infer(channel).future(asked("plain", tiny.encode(tiny.TEXTS), endless=True))
        time.sleep(SOON_S)
        process.kill()
        assert code(endless.result) is grpc.StatusCode.UNAVAILABLE
        _, left = psutil.wait_procs(workers, timeout=PATIENCE_S / 4)
        for worker in left:
            worker.kill()
        assert not left
