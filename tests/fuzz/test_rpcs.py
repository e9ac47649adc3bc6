"""Every RPC with messages of the right shape and wrong contents, and with bytes of no shape.

One daemon takes them all. It must live, answer each with a result or an error of ours, never
with a failure of its own, write nowhere but into its state folder, and serve as before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from edgetran.board import Board
from edgetran_daemon.security.roles import NEEDED
from edgetran_daemon.services.health import FILES
from edgetran_protos import open_inference
from edgetran_protos.bundle import Bundle, digest_of
from edgetran_protos.errors import ERROR_KEY
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

START_S = 30.0
CALL_S = 3.0  # some calls last until the client leaves
FINDINGS = Path(__file__).parent / "findings"
INTERESTING = (0, 1, 2, 7, 127, 255, 2**31 - 1, -1, -(2**31))
PATHS = ("../../x", "/etc/passwd", "sha256:../../../etc/passwd", "a/b", "\0", "home", "tiny")


@dataclass(frozen=True)
class Rpc:
    path: str
    descriptor: MethodDescriptor

    @property
    def request_streaming(self) -> bool:
        return bool(self.descriptor.client_streaming)

    @property
    def response_streaming(self) -> bool:
        return bool(self.descriptor.server_streaming)


def rpcs() -> list[Rpc]:
    services = [s for module in FILES for s in module.DESCRIPTOR.services_by_name.values()]
    services = [s for s in services if s.full_name.startswith("edgetran.v1.")]
    services.append(open_inference.POOL.FindServiceByName(open_inference.SERVICE))
    return [Rpc(f"/{s.full_name}/{m.name}", m) for s in services for m in s.methods]


RPCS = rpcs()


class Target:
    """The daemon, and what must not change about it."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self.folder, self.state = folder, folder / "state"
        ready = self.state / "ready.json"
        command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
        command += ["--state", str(self.state), "--ready-file", str(ready), "--threads", "1"]
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(command, cwd=folder, stderr=self.log)
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.address = str(json.loads(ready.read_text())["address"])
        self.channel = grpc.insecure_channel(self.address)
        self.digest = bundle.digest
        with Board(self.address) as board:
            board.deploy(bundle, model="home")
        self.outside = self.others()

    def others(self) -> set[str]:
        """Every file beside the state folder."""
        files = (p for p in self.folder.rglob("*") if self.state not in (p, *p.parents))
        return {str(path) for path in files}

    def ask(self, rpc: Rpc, requests: list[bytes]) -> None:
        """Raises AssertionError when the daemon failed."""
        kind = f"{'stream' if rpc.request_streaming else 'unary'}_"
        kind += "stream" if rpc.response_streaming else "unary"
        call: Any = getattr(self.channel, kind)(rpc.path)
        sent: Any = iter(requests) if rpc.request_streaming else requests[0]
        try:
            answer = call(sent, timeout=CALL_S)
            if rpc.response_streaming:
                for _, _event in zip(range(3), answer):
                    pass
                answer.cancel()
        except grpc.RpcError as exc:
            error: Any = exc
            code, trailers = error.code(), dict(error.trailing_metadata() or ())
            ours = ERROR_KEY in trailers
            known = code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
            too_long = code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert ours or known or too_long, (rpc.path, code, error.details())
            assert "Traceback" not in error.details()
        assert self.process.poll() is None, f"{rpc.path} ended the daemon"

    def check(self) -> None:
        self.log.flush()
        text = (self.folder / "log").read_text()
        assert "Traceback" not in text, text[-3000:]
        assert self.others() == self.outside, "it wrote outside its state folder"
        names = {path.name for path in self.state.iterdir()}
        known = {"blobs", "partial", "daemon.lock", "ready.json", "deployments.json", "lease-token"}
        assert names <= known


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Iterator[Target]:
    bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "tiny.tar")
    found = Target(tmp_path_factory.mktemp("fuzzed"), bundle)
    try:
        yield found
        found.check()
    finally:
        found.channel.close()
        found.process.terminate()
        found.process.wait(20)
        found.log.close()


def messages(
    descriptor: Descriptor, words: tuple[str, ...], depth: int = 0
) -> st.SearchStrategy[Any]:
    """Any message of the type: each field left out, or filled by its own type."""
    made = message_factory.GetMessageClass(descriptor)
    fields = {f.name: values(f, words, depth) for f in descriptor.fields if depth < 3}
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: made(**given))


def values(field: FieldDescriptor, words: tuple[str, ...], depth: int) -> st.SearchStrategy[Any]:
    one = single(field, words, depth)
    if not field.is_repeated:
        return one
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        parts = inner.fields_by_name
        key, value = (single(parts[name], words, depth) for name in ("key", "value"))
        return st.dictionaries(key, value, max_size=3)
    return st.lists(one, max_size=4)


def single(field: FieldDescriptor, words: tuple[str, ...], depth: int) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_MESSAGE:
        return messages(field.message_type, words, depth + 1)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return st.binary(max_size=200)
        return st.sampled_from((*PATHS, *words)) | st.text(max_size=20)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.floats(width=32)
    wide = kind in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
    low, high = (-(2**63), 2**63 - 1) if wide else (-(2**31), 2**31 - 1)
    if kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64):
        low, high = 0, 2 * high + 1
    small = [number for number in INTERESTING if low <= number <= high]
    return st.sampled_from(small) | st.integers(low, high)


WORDS = (
    *("input_ids", "attention_mask", "token_type_ids", "INT64", "BYTES", "FP32", "logits"),
    *("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset", "classification"),
)
bounded = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.slow
@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.path.rpartition(".")[2])
def test_right_shapes_with_wrong_contents(target: Target, rpc: Rpc) -> None:
    words = (*WORDS, target.digest, digest_of(b"nothing"))
    one = messages(rpc.descriptor.input_type, words)

    @bounded
    @given(st.lists(one, min_size=1, max_size=3))
    def ask(requests: list[Any]) -> None:
        target.ask(rpc, [request.SerializeToString() for request in requests])

    ask()
    target.check()


@pytest.mark.slow
@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.path.rpartition(".")[2])
def test_bytes_of_no_shape(target: Target, rpc: Rpc) -> None:
    whole = messages(rpc.descriptor.input_type, WORDS).map(lambda m: m.SerializeToString())
    cut = st.tuples(whole, st.integers(0, 30), st.binary(max_size=10)).map(
        lambda parts: parts[0][: parts[1]] + parts[2]
    )

    @bounded
    @given(st.lists(cut | st.binary(max_size=60), min_size=1, max_size=2))
    def ask(requests: list[bytes]) -> None:
        target.ask(rpc, requests)

    ask()
    target.check()


@pytest.mark.parametrize("path", sorted(FINDINGS.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_found_once(target: Target, path: Path) -> None:
    found = json.loads(path.read_text())
    (rpc,) = (rpc for rpc in RPCS if rpc.path == found["rpc"])
    target.ask(rpc, [bytes.fromhex(text) for text in found["requests"]])
    target.check()


@pytest.mark.slow
def test_after_all_that_it_serves_as_before(target: Target) -> None:
    with Board(target.address) as board:
        served = [d.model for d in board.deployments() if d.state == "serving"]
        for model in served:
            assert board.predict(["heat on"], model)[0].label


def test_every_rpc_of_ours_is_asked() -> None:
    asked = {rpc.path for rpc in RPCS}
    assert asked == {name for name in NEEDED if not name.startswith("/grpc.")}
