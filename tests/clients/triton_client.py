"""tritonclient against the daemon: ADDRESS FILE, where FILE holds tensors and expected logits.

The file: {"inputs": {name: rows}, "logits": rows, "labels": [...], "texts": [...],
"text_labels": [...]}. The models `home` and `spare` serve the same bundle.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from checks import run
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException
from tritonclient.utils import shared_memory as shm

ADDRESS = sys.argv[1]
KNOWN = json.loads(Path(sys.argv[2]).read_text())
INPUTS = {name: np.array(rows, np.int64) for name, rows in KNOWN["inputs"].items()}
LOGITS = np.array(KNOWN["logits"], np.float32)
client = triton.InferenceServerClient(ADDRESS)


def tensors(times=1, of=triton.InferInput):
    found = []
    for name, rows in INPUTS.items():
        rows = np.tile(rows, (times, 1))
        found.append(of(name, list(rows.shape), "INT64").set_data_from_numpy(rows))
    return found


def strings(values):
    array = np.array(values, np.object_)
    return triton.InferInput("TEXT", list(array.shape), "BYTES").set_data_from_numpy(array)


def refused(status, call):
    try:
        call()
    except InferenceServerException as exc:
        found, said = exc.status(), str(exc)
    else:
        raise AssertionError("it was not refused")
    assert found == f"StatusCode.{status}", said
    return said


def right(result, times=1):
    np.testing.assert_allclose(result.as_numpy("logits"), np.tile(LOGITS, (times, 1)), atol=1e-5)


def health():
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("home")
    assert client.is_model_ready("home", "1")
    assert client.is_model_ready("home:text")
    assert not client.is_model_ready("home", "2")
    assert not client.is_model_ready("absent")


def metadata():
    server = client.get_server_metadata()
    assert server.name == "edgetran-daemon"
    wanted = {"model_repository", "model_configuration", "statistics", "classification"}
    assert set(server.extensions) == wanted | {"system_shared_memory"}
    told = client.get_model_metadata("home", as_json=True)
    assert {entry["name"] for entry in told["inputs"]} == set(INPUTS)
    assert {entry["datatype"] for entry in told["inputs"]} == {"INT64"}
    assert told["outputs"][0]["shape"] == ["-1", str(LOGITS.shape[1])]
    text = client.get_model_metadata("home:text", as_json=True)
    assert text["inputs"] == [{"name": "TEXT", "datatype": "BYTES", "shape": ["-1", "-1"]}]
    assert [entry["name"] for entry in text["outputs"]] == ["LABEL", "SCORE", "SCORES"]
    refused("NOT_FOUND", lambda: client.get_model_metadata("absent"))


def config():
    found = client.get_model_config("home").config
    assert found.max_batch_size > 1
    assert found.backend == "onnxruntime"
    length = next(iter(INPUTS.values())).shape[1]
    dims = {entry.name: list(entry.dims) for entry in found.input}
    assert dims == {name: [length] for name in INPUTS}
    assert {entry.data_type for entry in found.input} == {9}  # TYPE_INT64
    assert [(o.name, o.data_type, list(o.dims)) for o in found.output] == [
        ("logits", 11, [LOGITS.shape[1]])
    ]
    assert json.loads(found.parameters["labels"].string_value) == KNOWN["labels"]
    assert client.get_model_config("home:text").config.input[0].data_type == 13  # TYPE_STRING
    refused("NOT_FOUND", lambda: client.get_model_config("absent"))


def infer_raw():
    result = client.infer("home", tensors(), request_id="abc")
    right(result)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("abc", "home", "1")
    asked = [triton.InferRequestedOutput("logits")]
    right(client.infer("home", tensors(), outputs=asked, model_version="1"))


def infer_typed():
    stub = service_pb2_grpc.GRPCInferenceServiceStub(client._channel)
    request = service_pb2.ModelInferRequest(model_name="home", id="typed")
    for name, rows in INPUTS.items():
        tensor = request.inputs.add(name=name, datatype="INT64", shape=rows.shape)
        tensor.contents.int64_contents.extend(rows.ravel().tolist())
    response = stub.ModelInfer(request)
    assert not response.raw_output_contents
    found = np.array(response.outputs[0].contents.fp32_contents).reshape(LOGITS.shape)
    np.testing.assert_allclose(found, LOGITS, atol=1e-5)


def classes():
    asked = [triton.InferRequestedOutput("logits", class_count=2)]
    found = client.infer("home", tensors(), outputs=asked).as_numpy("logits")
    assert found.shape == (len(LOGITS), 2)
    for row, best in zip(LOGITS, found[:, 0]):
        value, index, label = best.decode().split(":")
        assert int(index) == row.argmax()
        assert label == KNOWN["labels"][row.argmax()]
        assert abs(float(value) - row.max()) < 1e-4


def infer_async():
    done = queue.Queue()
    for number in range(5):
        client.async_infer(
            "home",
            tensors(),
            callback=lambda result, error: done.put((result, error)),
            request_id=str(number),
        )
    found = [done.get(timeout=60) for _ in range(5)]
    assert not any(error for _, error in found)
    for result, _ in found:
        right(result)
    assert {result.get_response().id for result, _ in found} == set("01234")


def infer_asyncio():
    async def work():
        async with triton_aio.InferenceServerClient(ADDRESS) as aio:
            assert await aio.is_server_ready()
            inputs = tensors(of=triton_aio.InferInput)
            for result in await asyncio.gather(*(aio.infer("home", inputs) for _ in range(5))):
                right(result)

    asyncio.run(work())


def stream():
    done = queue.Queue()
    with triton.InferenceServerClient(ADDRESS) as mine:
        mine.start_stream(callback=lambda result, error: done.put((result, error)))
        for number in range(12):
            mine.async_stream_infer("home", tensors(number + 1), request_id=str(number))
        for number in range(12):  # in the order of the requests
            result, error = done.get(timeout=60)
            assert error is None, error
            assert result.get_response().id == str(number)
            right(result, number + 1)
        mine.stop_stream()


def stream_errors():
    """A refused request says so in its place; those around it are answered."""
    done = queue.Queue()
    with triton.InferenceServerClient(ADDRESS) as mine:
        mine.start_stream(callback=lambda result, error: done.put((result, error)))
        mine.async_stream_infer("home", tensors(), request_id="a")
        mine.async_stream_infer("absent", tensors(), request_id="b")
        mine.async_stream_infer("home", tensors()[:1], request_id="c")
        mine.async_stream_infer("home", tensors(), request_id="d")
        found = [done.get(timeout=60) for _ in range(4)]
        mine.stop_stream()
    assert [error is None for _, error in found] == [True, False, False, True]
    assert "absent" in str(found[1][1])
    assert "missing" in str(found[2][1])
    assert found[3][0].get_response().id == "d"


def stream_cancelled():
    done = queue.Queue()
    with triton.InferenceServerClient(ADDRESS) as mine:
        mine.start_stream(callback=lambda result, error: done.put((result, error)))
        for _ in range(50):
            mine.async_stream_infer("home", tensors(50))
        mine.stop_stream(cancel_requests=True)
    right(client.infer("home", tensors()))


def stream_asyncio():
    async def work():
        async def requests():
            for number in range(4):
                yield {
                    "model_name": "home" if number != 2 else "absent",
                    "inputs": tensors(of=triton_aio.InferInput),
                    "request_id": str(number),
                }

        async with triton_aio.InferenceServerClient(ADDRESS) as aio:
            return [pair async for pair in aio.stream_infer(requests())]

    found = asyncio.run(work())
    assert [error is None for _, error in found] == [True, True, False, True]
    right(found[3][0])


def text():
    rows = [[one] for one in KNOWN["texts"]]
    result = client.infer("home:text", [strings(rows)])
    assert [one.decode() for one in result.as_numpy("LABEL")[:, 0]] == KNOWN["text_labels"]
    scores = result.as_numpy("SCORES")
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(result.as_numpy("SCORE")[:, 0], scores.max(1))
    flat = client.infer("home:text", [strings(KNOWN["texts"])])
    np.testing.assert_array_equal(flat.as_numpy("SCORES"), scores)
    assert client.infer("home:text", [strings([["a", "b"]])]).as_numpy("LABEL").shape == (1, 1)
    said = refused("INVALID_ARGUMENT", lambda: client.infer("home", [strings(rows)]))
    assert "numbers" in said
    refused("INVALID_ARGUMENT", lambda: client.infer("home:text", [strings([["a", "b", "c"]])]))
    refused("INVALID_ARGUMENT", lambda: client.infer("home:text", [strings([[b"\xff"]])]))
    refused("INVALID_ARGUMENT", lambda: client.infer("home:text", tensors()))


def errors():
    def with_first(shape, kind, data):
        inputs = tensors()
        inputs[0] = triton.InferInput(inputs[0].name(), shape, kind).set_data_from_numpy(data)
        return inputs

    refused("NOT_FOUND", lambda: client.infer("absent", tensors()))
    refused("NOT_FOUND", lambda: client.infer("home", tensors(), model_version="9"))
    wrong_shape = with_first([1, 3], "INT64", np.zeros((1, 3), np.int64))
    assert "shape" in refused("INVALID_ARGUMENT", lambda: client.infer("home", wrong_shape))
    length = INPUTS[tensors()[0].name()].shape
    wrong_type = with_first(list(length), "FP32", np.zeros(length, np.float32))
    assert "int64" in refused("INVALID_ARGUMENT", lambda: client.infer("home", wrong_type))
    refused("INVALID_ARGUMENT", lambda: client.infer("home", []))
    absent = [triton.InferRequestedOutput("absent")]
    refused("INVALID_ARGUMENT", lambda: client.infer("home", tensors(), outputs=absent))


def large():
    right(client.infer("home", tensors(300)), 300)


def concurrent():
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: client.infer("home", tensors()), range(40)):
            right(result)


def shared_memory():
    """The way of Triton's own example: inputs and the output in regions, nothing in the request."""
    assert "system_shared_memory" in client.get_server_metadata().extensions
    client.unregister_system_shared_memory()
    assert not client.get_system_shared_memory_status().regions
    rows = list(INPUTS.values())
    sizes = [one.nbytes for one in rows]
    given = shm.create_shared_memory_region("given", "edgetran_given", sum(sizes))
    taken = shm.create_shared_memory_region("taken", "edgetran_taken", LOGITS.nbytes + 16)
    try:
        shm.set_shared_memory_region(given, rows)
        client.register_system_shared_memory("given", "/edgetran_given", sum(sizes))
        client.register_system_shared_memory("taken", "/edgetran_taken", LOGITS.nbytes + 16)
        inputs, at = [], 0
        for name, values in INPUTS.items():
            tensor = triton.InferInput(name, list(values.shape), "INT64")
            tensor.set_shared_memory("given", values.nbytes, at)
            inputs.append(tensor)
            at += values.nbytes
        output = triton.InferRequestedOutput("logits")
        output.set_shared_memory("taken", LOGITS.nbytes, 16)
        for _ in range(3):
            result = client.infer("home", inputs, outputs=[output])
            told = result.get_output("logits")
            assert list(told.shape) == list(LOGITS.shape)
            assert told.parameters["shared_memory_region"].string_param == "taken"
            found = shm.get_contents_as_numpy(taken, np.float32, LOGITS.shape, 16)
            np.testing.assert_allclose(found, LOGITS, atol=1e-5)
            found[:] = 0
        right(client.infer("home", inputs))  # the output in the answer
        right(client.infer("home", [inputs[0], *tensors()[1:]]))  # an input of each kind
        mixed = client.infer("home", tensors(), outputs=[output])
        assert len(mixed.get_response().raw_output_contents[0]) == 0
        np.testing.assert_allclose(found, LOGITS, atol=1e-5)
        status = client.get_system_shared_memory_status().regions
        assert {one.key for one in status.values()} == {"/edgetran_given", "/edgetran_taken"}
        assert status["given"].byte_size == sum(sizes)
        for call in (  # an output that does not fit, an input that ends beyond its region
            lambda: output.set_shared_memory("taken", 4),
            lambda: inputs[-1].set_shared_memory("given", sizes[-1], at),
        ):
            call()
            said = refused(
                "INVALID_ARGUMENT", lambda: client.infer("home", inputs, outputs=[output])
            )
            assert "bytes" in said
        register = client.register_system_shared_memory
        refused("ALREADY_EXISTS", lambda: register("given", "/edgetran_given", 8))
        refused("NOT_FOUND", lambda: register("other", "/edgetran_absent", 8))
        refused("INVALID_ARGUMENT", lambda: register("other", "/edgetran_given", sum(sizes) + 4096))
        refused("INVALID_ARGUMENT", lambda: register("other", "/../../etc/passwd", 8))
        client.unregister_system_shared_memory("given")
        refused("NOT_FOUND", lambda: client.infer("home", inputs))
        refused("NOT_FOUND", lambda: client.get_system_shared_memory_status("given"))
        client.unregister_system_shared_memory()
        assert not client.get_system_shared_memory_status().regions
    finally:
        shm.destroy_shared_memory_region(given)
        shm.destroy_shared_memory_region(taken)


def shared_strings():
    rows = [[one] for one in KNOWN["texts"]]
    raw = b"".join(len(one[0]).to_bytes(4, "little") + one[0].encode() for one in rows)
    region = shm.create_shared_memory_region("texts", "edgetran_texts", len(raw))
    try:
        shm.set_shared_memory_region(region, [np.frombuffer(raw, np.uint8)])
        client.register_system_shared_memory("texts", "/edgetran_texts", len(raw))
        tensor = triton.InferInput("TEXT", [len(rows), 1], "BYTES")
        tensor.set_shared_memory("texts", len(raw))
        result = client.infer("home:text", [tensor])
        assert [one.decode() for one in result.as_numpy("LABEL")[:, 0]] == KNOWN["text_labels"]
    finally:
        client.unregister_system_shared_memory("texts")
        shm.destroy_shared_memory_region(region)


def cuda_shared_memory():
    said = refused("UNIMPLEMENTED", client.get_cuda_shared_memory_status)
    assert "CUDA" in said
    refused("UNIMPLEMENTED", lambda: client.register_cuda_shared_memory("a", b"aaaa", 0, 8))
    refused("UNIMPLEMENTED", client.unregister_cuda_shared_memory)


def repository():
    def index():
        return {m.name: (m.state, m.reason) for m in client.get_model_repository_index().models}

    ready = ("READY", "")
    assert index() == dict.fromkeys(["home", "home:text", "spare", "spare:text"], ready)
    client.unload_model("spare")
    assert not client.is_model_ready("spare")
    assert index()["home"] == ready
    state, reason = index()["spare"]
    assert state == "UNAVAILABLE"
    assert "unloaded" in reason
    refused("UNAVAILABLE", lambda: client.infer("spare", tensors()))
    client.load_model("spare")
    assert client.is_model_ready("spare")
    right(client.infer("spare", tensors()))
    refused("NOT_FOUND", lambda: client.load_model("absent"))
    refused("NOT_FOUND", lambda: client.unload_model("absent"))
    said = refused("INVALID_ARGUMENT", lambda: client.load_model("spare", config="{}"))
    assert "config" in said


def statistics():
    client.unload_model("spare")
    client.load_model("spare")  # the counts begin anew
    rows = len(LOGITS)
    for _ in range(3):
        client.infer("spare", tensors())
    client.infer("spare", tensors(2))
    refused("INVALID_ARGUMENT", lambda: client.infer("spare", tensors()[:1]))
    (found,) = client.get_inference_statistics("spare").model_stats
    assert (found.name, found.version) == ("spare", "1")
    assert found.inference_count == 5 * rows
    assert found.execution_count == 4
    stats = found.inference_stats
    assert (stats.success.count, stats.fail.count) == (4, 1)
    parts = [stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output]
    assert all(part.count == 4 for part in parts)
    assert 0 < stats.compute_infer.ns <= sum(part.ns for part in parts) <= stats.success.ns
    batches = {b.batch_size: b.compute_infer.count for b in found.batch_stats}
    assert batches == {rows: 3, 2 * rows: 1}
    every = {one.name for one in client.get_inference_statistics().model_stats}
    assert every == {"home", "spare"}
    refused("NOT_FOUND", lambda: client.get_inference_statistics("absent"))


run(
    [
        health,
        metadata,
        config,
        infer_raw,
        infer_typed,
        classes,
        infer_async,
        infer_asyncio,
        stream,
        stream_errors,
        stream_cancelled,
        stream_asyncio,
        text,
        errors,
        large,
        concurrent,
        shared_memory,
        shared_strings,
        cuda_shared_memory,
        repository,
        statistics,
    ]
)
