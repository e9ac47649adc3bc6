"""Two users of one machine at one daemon: neither reaches the other's shared memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from edgetran_protos.open_inference import SERVICE, message, methods

HERE = Path(__file__).parent
ROWS = 2


def call(channel: grpc.Channel, name: str, request: Any) -> Any:
    """`request`: a message, or its fields."""
    method = methods()[name]
    stub = channel.unary_unary(
        f"/{SERVICE}/{name}", method.request.SerializeToString, method.response.FromString
    )
    sent = method.request(**request) if isinstance(request, dict) else request
    return stub(sent, timeout=30)


def infer_request(described: Any, region: str, contents: bool) -> Any:
    """Ones of the described inputs; sent, or said to lie in the region one after the other."""
    request = message("ModelInferRequest")(model_name=described.name)
    at = 0
    for spec in described.inputs:
        values = np.ones([ROWS, *spec.shape[1:]], np.int64)
        tensor = request.inputs.add(name=spec.name, datatype=spec.datatype, shape=values.shape)
        if contents:
            request.raw_input_contents.append(values.tobytes())
        else:
            tensor.parameters["shared_memory_region"].string_param = region
            tensor.parameters["shared_memory_byte_size"].int64_param = values.nbytes
            tensor.parameters["shared_memory_offset"].int64_param = at
        at += values.nbytes
    return request


def attempts(address: str, key: str) -> dict[str, str]:
    """What the status is of each thing that this process tries with memory of another's."""
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        described = call(channel, "ModelMetadata", {"name": "home"})
        read = infer_request(described, "theirs", contents=False)
        write = infer_request(described, "theirs", contents=True)
        place = write.outputs.add(name="logits").parameters
        place["shared_memory_region"].string_param = "theirs"
        place["shared_memory_byte_size"].int64_param = 4096
        tried = {
            "read": ("ModelInfer", read),
            "write": ("ModelInfer", write),
            "register": ("SystemSharedMemoryRegister", {"name": "a", "key": key, "byte_size": 64}),
            "status": ("SystemSharedMemoryStatus", {"name": "theirs"}),
            "all": ("SystemSharedMemoryStatus", {}),
            "unregister": ("SystemSharedMemoryUnregister", {"name": "theirs"}),
            "unregister all": ("SystemSharedMemoryUnregister", {}),
        }
        return {name: status(channel, *attempt) for name, attempt in tried.items()}


def status(channel: grpc.Channel, name: str, request: Any) -> str:
    try:
        call(channel, name, request)
    except grpc.RpcError as exc:
        error: Any = exc
        return str(error.code().name)
    return "OK"


PROGRAM = """
import json, os, sys
import grpc
sys.path.insert(0, sys.argv[1])
from test_shared_memory import attempts, call
address, key = sys.argv[2:]
attempts(address, key)  # what it needs is loaded while it may read the files
with grpc.insecure_channel(address) as channel:
    theirs = {"name": "theirs", "key": key, "byte_size": 4096}
    call(channel, "SystemSharedMemoryRegister", theirs)
os.setuid(4321)
print(json.dumps(attempts(address, key)))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user"
)
def test_another_user_reaches_nothing(address: str) -> None:
    memory = SharedMemory(create=True, size=4096)
    key = f"/{memory.name}"
    with grpc.insecure_channel(address) as channel:
        try:
            command = [sys.executable, "-c", PROGRAM, str(HERE), address, key]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == {
                "read": "NOT_FOUND",
                "write": "NOT_FOUND",
                "register": "PERMISSION_DENIED",
                "status": "NOT_FOUND",
                "all": "OK",
                "unregister": "OK",
                "unregister all": "OK",
            }
            owners = attempts(address, key)
            assert (owners["read"], owners["write"], owners["status"]) == ("OK", "OK", "OK")
            assert status(channel, "SystemSharedMemoryStatus", {"name": "theirs"}) == "NOT_FOUND"
        finally:
            memory.close()
            memory.unlink()
