"""A foreign client: it knows the public protocols and the server's address, nothing of ours.

Its stubs are made from the descriptors that the server reflects; a second client
writes the bytes of a request by hand, from the field numbers of the public protocol.
"""

from __future__ import annotations

import json
import queue
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import edgetran
import grpc
import numpy as np
import onnxruntime
import pytest
from edgetran_protos.bundle import Bundle
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

START_S = 30.0
INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
SERVICES = {
    "edgetran.v1.DeploymentService",
    "edgetran.v1.DeviceService",
    "edgetran.v1.MeasurementService",
    "edgetran.v1.SignerService",
    "edgetran.v1.TextService",
    INFERENCE,
    HEALTH,
    "grpc.reflection.v1alpha.ServerReflection",
}
PUBLIC_FIELDS: Mapping[str, Mapping[str, int]] = {  # of the Open Inference Protocol v2
    "ServerLiveResponse": {"live": 1},
    "ServerReadyResponse": {"ready": 1},
    "ModelReadyRequest": {"name": 1, "version": 2},
    "ModelReadyResponse": {"ready": 1},
    "ServerMetadataResponse": {"name": 1, "version": 2, "extensions": 3},
    "ModelMetadataRequest": {"name": 1, "version": 2},
    "ModelMetadataResponse": {"name": 1, "versions": 2, "platform": 3, "inputs": 4, "outputs": 5},
    "ModelMetadataResponse.TensorMetadata": {"name": 1, "datatype": 2, "shape": 3},
    "ModelInferRequest": {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "inputs": 5,
        "outputs": 6,
        "raw_input_contents": 7,
    },
    "ModelInferRequest.InferInputTensor": {
        "name": 1,
        "datatype": 2,
        "shape": 3,
        "parameters": 4,
        "contents": 5,
    },
    "ModelInferRequest.InferRequestedOutputTensor": {"name": 1, "parameters": 2},
    "ModelInferResponse": {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "outputs": 5,
        "raw_output_contents": 6,
    },
    "ModelInferResponse.InferOutputTensor": {
        "name": 1,
        "datatype": 2,
        "shape": 3,
        "parameters": 4,
        "contents": 5,
    },
    "InferTensorContents": {
        "bool_contents": 1,
        "int_contents": 2,
        "int64_contents": 3,
        "uint_contents": 4,
        "uint64_contents": 5,
        "fp32_contents": 6,
        "fp64_contents": 7,
        "bytes_contents": 8,
    },
    "InferParameter": {"bool_param": 1, "int64_param": 2, "string_param": 3},
}


class ForeignClient:
    """Calls any method of any service that the server reflects."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = DescriptorPool(self._database)

    def services(self) -> set[str]:
        return set(self._database.get_services())

    def message(self, name: str, **values: Any) -> Any:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))(**values)

    def call(self, service: str, method: str, /, **values: Any) -> Any:
        return self.stub(service, method)(self._request(service, method, values), timeout=20)

    def watch(self, service: str, method: str, /, **values: Any) -> Any:
        make = self._channel.unary_stream
        return self.stub(service, method, make)(self._request(service, method, values))

    def stub(self, service: str, method: str, make: Any = None) -> Callable[..., Any]:
        described = self.pool.FindServiceByName(service).methods_by_name[method]
        request, response = (
            message_factory.GetMessageClass(kind)
            for kind in (described.input_type, described.output_type)
        )
        found: Callable[..., Any] = (make or self._channel.unary_unary)(
            f"/{service}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return found

    def _request(self, service: str, method: str, values: dict[str, Any]) -> Any:
        described = self.pool.FindServiceByName(service).methods_by_name[method]
        return message_factory.GetMessageClass(described.input_type)(**values)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "tiny.tar")
    return made


class Server:
    def __init__(self, folder: Path) -> None:
        ready = folder / "ready.json"
        command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
        command += ["--state", str(folder), "--threads", "1", "--ready-file", str(ready)]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert self.process.poll() is None, "the daemon ended early"
            assert time.monotonic() < deadline, "the daemon is not ready"
            time.sleep(0.02)
        self.address = json.loads(ready.read_text())["address"]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("state"))
    try:
        with edgetran.connect(found.address) as board:
            board.deploy(bundle, model="home")
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[ForeignClient]:
    with grpc.insecure_channel(server.address) as channel:
        yield ForeignClient(channel)


@pytest.fixture(scope="module")
def in_process(bundle: Bundle) -> onnxruntime.InferenceSession:
    """The same graph with no server in between."""
    graph = bundle.read(bundle.card.variants[0].digest)
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def rows(tiny: ModuleType, count: int) -> dict[str, np.ndarray[Any, Any]]:
    texts = [
        [" ".join(tiny.WORDS[2 + (i + j) % 8] for j in range(i % 7 + 1))] for i in range(count)
    ]
    found: dict[str, np.ndarray[Any, Any]] = tiny.encode(texts)
    return found


def status_of(error: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.StatusCode:
    code: grpc.StatusCode = error.value.code()  # type: ignore[attr-defined]
    return code


def test_every_service_is_reflected(client: ForeignClient) -> None:
    assert client.services() == SERVICES
    for service in SERVICES:
        assert client.pool.FindServiceByName(service).methods


def test_names_and_numbers_are_the_public_protocols(client: ForeignClient) -> None:
    for name, fields in PUBLIC_FIELDS.items():
        described = client.pool.FindMessageTypeByName(f"inference.{name}")
        found = {field.name: field.number for field in described.fields}
        assert fields.items() <= found.items(), name
    contents = client.pool.FindMessageTypeByName("inference.InferTensorContents")
    types = {field.name: field.type for field in contents.fields}
    assert types["int_contents"] == FieldDescriptor.TYPE_INT32
    assert types["uint64_contents"] == FieldDescriptor.TYPE_UINT64
    assert types["fp32_contents"] == FieldDescriptor.TYPE_FLOAT


def test_the_server_is_alive_ready_and_has_a_name(client: ForeignClient) -> None:
    assert client.call(INFERENCE, "ServerLive").live
    assert client.call(INFERENCE, "ServerReady").ready
    told = client.call(INFERENCE, "ServerMetadata")
    assert told.name == "edgetran-daemon"
    assert told.version


def test_models_are_ready_or_not(client: ForeignClient) -> None:
    for name, version, ready in [
        ("home", "", True),
        ("home", "1", True),
        ("home", "2", False),
        ("absent", "", False),
    ]:
        assert client.call(INFERENCE, "ModelReady", name=name, version=version).ready == ready


def test_a_model_describes_its_tensors(client: ForeignClient, tiny: ModuleType) -> None:
    told = client.call(INFERENCE, "ModelMetadata", name="home")
    assert (told.name, list(told.versions)) == ("home", ["1"])
    inputs = {entry.name: (entry.datatype, list(entry.shape)) for entry in told.inputs}
    wanted = ("INT64", [-1, tiny.LENGTH])
    assert inputs == dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), wanted)
    (output,) = told.outputs
    assert (output.name, output.datatype) == ("logits", "FP32")
    for wrong in ({"name": "absent"}, {"name": "home", "version": "7"}):
        with pytest.raises(grpc.RpcError) as caught:
            client.call(INFERENCE, "ModelMetadata", **wrong)
        assert status_of(caught) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("count", [1, 2, 33])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_answers_are_those_of_the_runtime_itself(
    client: ForeignClient,
    in_process: onnxruntime.InferenceSession,
    tiny: ModuleType,
    count: int,
    raw: bool,
) -> None:
    tokens = rows(tiny, count)
    request = client.message("inference.ModelInferRequest", model_name="home", id="abc")
    for name, values in tokens.items():
        tensor = request.inputs.add(name=name, datatype="INT64", shape=values.shape)
        if raw:
            request.raw_input_contents.append(values.tobytes())
        else:
            tensor.contents.int64_contents.extend(values.ravel().tolist())
    told = client.stub(INFERENCE, "ModelInfer")(request, timeout=20)
    assert (told.model_name, told.model_version, told.id) == ("home", "1", "abc")
    (output,) = told.outputs
    if raw:
        found = np.frombuffer(told.raw_output_contents[0], "<f4")
    else:
        assert not told.raw_output_contents
        found = np.array(output.contents.fp32_contents, np.float32)
    (expected,) = in_process.run(["logits"], tokens)
    assert list(output.shape) == list(expected.shape)
    np.testing.assert_array_equal(found.reshape(output.shape), expected)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"model_name": "absent"}, grpc.StatusCode.NOT_FOUND),
        ({"model_version": "7"}, grpc.StatusCode.NOT_FOUND),
        ({"raw_input_contents": [b"short"]}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"inputs": []}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"outputs": [{"name": "absent"}]}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"model_name": "n" * 100_000}, grpc.StatusCode.NOT_FOUND),
    ],
)
def test_mistakes_have_the_status_a_client_expects(
    client: ForeignClient, tiny: ModuleType, change: dict[str, Any], status: grpc.StatusCode
) -> None:
    inputs = [
        {"name": name, "datatype": "INT64", "shape": values.shape}
        for name, values in rows(tiny, 1).items()
    ]
    raw = [values.tobytes() for values in rows(tiny, 1).values()]
    sound = {"model_name": "home", "inputs": inputs, "raw_input_contents": raw}
    with pytest.raises(grpc.RpcError) as caught:
        client.call(INFERENCE, "ModelInfer", **{**sound, **change})
    assert status_of(caught) is status
    assert client.call(INFERENCE, "ModelInfer", **sound).outputs[0].name == "logits"


def test_methods_that_nobody_has(client: ForeignClient, server: Server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(f"/{INFERENCE}/Nothing")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
    assert status_of(caught) is grpc.StatusCode.UNIMPLEMENTED


# --- by hand: the wire format of the public protocol, no descriptors at all ---


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def piece(number: int, data: bytes) -> bytes:
    """A field of type string, bytes, message or packed numbers."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def pieces(data: bytes) -> list[tuple[int, bytes]]:
    """(field number, bytes) of a message that has only such fields."""
    found, at = [], 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag, size = number(), number()
        assert tag & 7 == 2, "a field of another type"
        found.append((tag >> 3, data[at : at + size]))
        at += size
    return found


def test_bytes_written_by_hand_are_understood(
    server: Server, in_process: onnxruntime.InferenceSession, tiny: ModuleType
) -> None:
    tokens = rows(tiny, 2)
    request = piece(1, b"home") + piece(3, b"by hand")
    for name, values in tokens.items():
        shape = b"".join(varint(size) for size in values.shape)
        request += piece(5, piece(1, name.encode()) + piece(2, b"INT64") + piece(3, shape))
    for values in tokens.values():
        numbers = values.ravel().tolist()
        request += piece(7, struct.pack(f"<{len(numbers)}q", *numbers))
    with grpc.insecure_channel(server.address) as channel:
        answer = pieces(channel.unary_unary(f"/{INFERENCE}/ModelInfer")(request, timeout=20))
    assert [data for number, data in answer if number in (1, 3)] == [b"home", b"by hand"]
    (output,) = (dict(pieces(data)) for number, data in answer if number == 5)
    assert (output[1], output[2]) == (b"logits", b"FP32")
    assert output[3] == varint(2) + varint(len(tiny.LABELS))
    (raw,) = (data for number, data in answer if number == 6)
    (expected,) = in_process.run(["logits"], tokens)
    found = struct.unpack(f"<{expected.size}f", raw)
    np.testing.assert_array_equal(np.float32(found), expected.ravel())


# --- health ---


def test_health_of_the_server_and_of_each_service(client: ForeignClient) -> None:
    serving = client.pool.FindEnumTypeByName(
        "grpc.health.v1.HealthCheckResponse.ServingStatus"
    ).values_by_name["SERVING"]
    for service in ("", INFERENCE, "edgetran.v1.TextService"):
        assert client.call(HEALTH, "Check", service=service).status == serving.number
    with pytest.raises(grpc.RpcError) as caught:
        client.call(HEALTH, "Check", service="absent")
    assert status_of(caught) is grpc.StatusCode.NOT_FOUND


def test_an_open_stream_ends_with_the_daemon_and_does_not_delay_it(
    tmp_path: Path, bundle: Bundle
) -> None:
    server = Server(tmp_path)
    try:
        with edgetran.connect(server.address) as board:
            board.deploy(bundle, model="home")
        with grpc.insecure_channel(server.address) as channel:
            client = ForeignClient(channel)
            more: queue.Queue[Any] = queue.Queue()
            stream = client.stub(INFERENCE, "ModelStreamInfer", channel.stream_stream)
            answers = stream(iter(more.get, None))
            more.put(client.message("inference.ModelInferRequest", model_name="absent", id="7"))
            first = next(answers)
            assert "absent" in first.error_message
            assert first.infer_response.id == "7"
            server.process.terminate()
            assert list(answers) == []  # its regular end, not a call cut off
            assert answers.code() is grpc.StatusCode.OK
            more.put(None)
        assert server.process.wait(20) == 0
    finally:
        server.process.kill()
        server.process.wait()


def test_who_watches_hears_of_the_end_and_does_not_delay_it(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        with grpc.insecure_channel(server.address) as channel:
            client = ForeignClient(channel)
            client.services()  # its reflection stream stays open too
            events = client.watch(HEALTH, "Watch", service=INFERENCE)
            assert next(events).status == 1  # SERVING
            begun = time.monotonic()
            server.process.terminate()
            assert next(events).status == 2  # NOT_SERVING
            assert server.process.wait(20) == 0
            assert time.monotonic() - begun < 5
    finally:
        server.stop()
