"""A board that keeps so much of bundles and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import grpc
import pytest
from edgetran.board import Board
from edgetran_protos.bundle import digest_of
from edgetran_protos.generated.edgetran.v1.deployment_pb2 import BlobRef, PutBlobRequest
from edgetran_protos.generated.edgetran.v1.deployment_pb2_grpc import DeploymentServiceStub

START_S = 30.0
LIMIT_MB = 1
FIRST, SECOND = b"a" * 700_000, b"b" * 700_000
HOUR_S = 3600.0


@contextmanager
def daemon(state: Path) -> Iterator[str]:
    ready = state / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    command += ["--state", str(state), "--ready-file", str(ready)]
    process = subprocess.Popen([*command, "--store-limit-mb", str(LIMIT_MB)])
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield json.loads(ready.read_text())["address"]
    finally:
        process.terminate()
        process.wait(START_S)


def put(address: str, data: bytes) -> int:
    with grpc.insecure_channel(address) as channel:
        ref = BlobRef(digest=digest_of(data), size_bytes=len(data))
        request = PutBlobRequest(blob=ref, chunk=data)
        return int(DeploymentServiceStub(channel).PutBlob(iter([request])).size_bytes)


def test_what_nobody_deployed_goes_before_a_new_bundle_is_refused(
    tmp_path: Path, tiny: ModuleType
) -> None:
    bundle = tiny.make(tmp_path / "tiny.tar")
    with daemon(tmp_path) as address, Board(address) as board:
        board.deploy(bundle, model="home")
        assert put(address, FIRST) == len(FIRST)
        with pytest.raises(grpc.RpcError) as caught:
            put(address, SECOND)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # it may be wanted yet
        kept = tmp_path / "blobs" / "sha256"
        for blob in kept.iterdir():
            os.utime(blob, (time.time() - HOUR_S,) * 2)
        assert put(address, SECOND) == len(SECOND)
        names = {f"sha256:{blob.name}" for blob in kept.iterdir()}
        assert digest_of(FIRST) not in names
        assert names == {*(b.digest for b in bundle.transfer_blobs()), digest_of(SECOND)}
        assert board.predict(["heat on"], model="home")
        assert sum(blob.stat().st_size for blob in kept.iterdir()) <= LIMIT_MB << 20
