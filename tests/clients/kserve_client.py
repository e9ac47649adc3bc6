"""KServe's own Python client against the daemon: ADDRESS FILE; see triton_client.py."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import grpc
import numpy as np
from checks import run
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import RequestedOutput

ADDRESS = sys.argv[1]
KNOWN = json.loads(Path(sys.argv[2]).read_text())
INPUTS = {name: np.array(rows, np.int64) for name, rows in KNOWN["inputs"].items()}
LOGITS = np.array(KNOWN["logits"], np.float32)


def tensors():
    found = []
    for name, rows in INPUTS.items():
        tensor = InferInput(name, list(rows.shape), "INT64")
        tensor.set_data_from_numpy(rows, binary_data=True)
        found.append(tensor)
    return found


def with_client(work):
    async def whole():
        async with InferenceGRPCClient(ADDRESS) as client:
            return await work(client)

    return asyncio.run(whole())


def right(response):
    (output,) = response.outputs
    np.testing.assert_allclose(output.as_numpy(), LOGITS, atol=1e-5)


def health():
    async def work(client):
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("home")
        assert not await client.is_model_ready("absent")

    with_client(work)


def infer_request():
    async def work(client):
        request = InferRequest(model_name="home", infer_inputs=tensors(), request_id="abc")
        response = await client.infer(request)
        assert (response.id, response.model_name) == ("abc", "home")
        right(response)

    with_client(work)


def infer_outputs():
    async def work(client):
        asked = [RequestedOutput("logits")]
        right(await client.infer(InferRequest("home", tensors(), request_outputs=asked)))

    with_client(work)


def text():
    async def work(client):
        tensor = InferInput("TEXT", [len(KNOWN["texts"]), 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[one] for one in KNOWN["texts"]], np.object_))
        response = await client.infer(InferRequest("home:text", [tensor]))
        labels = next(out for out in response.outputs if out.name == "LABEL").as_numpy()
        return [str(one.decode() if isinstance(one, bytes) else one) for one in labels.ravel()]

    assert with_client(work) == KNOWN["text_labels"]


def errors():
    async def work(client):
        try:
            await client.infer(InferRequest("absent", tensors()))
        except grpc.RpcError as exc:
            return exc.code()
        return None

    assert with_client(work) is grpc.StatusCode.NOT_FOUND


def repository():
    """KServe's messages have the model's name where Triton's have the repository's."""
    with grpc.insecure_channel(ADDRESS) as channel:
        stub = GRPCInferenceServiceStub(channel)
        out = stub.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name="spare"))
        assert (out.model_name, out.isUnloaded) == ("spare", True)
        assert not stub.ModelReady(messages.ModelReadyRequest(name="spare")).ready
        back = stub.RepositoryModelLoad(messages.RepositoryModelLoadRequest(model_name="spare"))
        assert (back.model_name, back.isLoaded) == ("spare", True)
        assert stub.ModelReady(messages.ModelReadyRequest(name="spare")).ready


run([health, infer_request, infer_outputs, text, errors, repository])
