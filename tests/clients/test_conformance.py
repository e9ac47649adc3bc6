"""The conformance suite: our daemon passes it, and a server that deviates does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from edgetran_protos.open_inference import SERVICE, methods

NEEDS_STRINGS = "strings that end early are refused"
Twist = Callable[[str, Any, Any], Any]  # method, request, response -> response


def conformance(address: str, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit status, and verdict and detail of each check."""
    command = [sys.executable, "-m", "edgetran.conformance", address, "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    return done.returncode, {one["check"]: (one["verdict"], one["detail"]) for one in found}


@pytest.mark.parametrize("model", ["home", "home:text"])
def test_our_daemon_passes_and_offers_everything(address: str, model: str) -> None:
    status, found = conformance(address, "--model", model, "--disturb")
    other = {check: one for check, one in found.items() if one[0] != "passed"}
    allowed = set() if model.endswith(":text") else {NEEDS_STRINGS}
    assert set(other) == allowed, other
    assert status == 0
    assert len(found) > 30


def test_the_model_is_found_in_the_index_and_lines_are_for_people(address: str) -> None:
    command = [sys.executable, "-m", "edgetran.conformance", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[0].startswith("passed      server is live")
    assert done.stdout.splitlines()[-1].startswith(f"home at {address}: ")


def test_without_a_server_or_a_model_it_says_what_to_do(address: str) -> None:
    for options in (["127.0.0.1:1"], ["127.0.0.1:1", "--model", "home"]):
        command = [sys.executable, "-m", "edgetran.conformance", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 2
        assert "hint:" in done.stderr
        assert "Traceback" not in done.stderr


@contextmanager
def twisted(address: str, twist: Twist) -> Iterator[str]:
    """A server that passes calls on to ours and changes the answers."""

    def handler(name: str) -> Any:
        method = methods()[name]

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            onward = channel.unary_unary(
                f"/{SERVICE}/{name}",
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            try:
                return twist(name, request, onward(request, timeout=60))
            except grpc.RpcError as exc:
                said = twist(name, request, exc)
                if said is not exc:
                    return said
                context.abort(exc.code(), exc.details())  # type: ignore[attr-defined]

        return grpc.unary_unary_rpc_method_handler(
            call, method.request.FromString, method.response.SerializeToString
        )

    unary = {name: handler(name) for name, method in methods().items() if not method.streaming}
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, unary),))
    port = server.add_insecure_port("127.0.0.1:0")
    with grpc.insecure_channel(address) as channel:
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait()


def straight(name: str, request: Any, response: Any) -> Any:
    return response


def forgets_ids(name: str, request: Any, response: Any) -> Any:
    if name == "ModelInfer" and not isinstance(response, grpc.RpcError):
        response.id = ""
    return response


def answers_everything(name: str, request: Any, response: Any) -> Any:
    refused = name == "ModelInfer" and isinstance(response, grpc.RpcError)
    return methods()[name].response() if refused else response


def cuts_tensors(name: str, request: Any, response: Any) -> Any:
    if name == "ModelInfer" and not isinstance(response, grpc.RpcError):
        for place, data in enumerate(response.raw_output_contents):
            response.raw_output_contents[place] = data[:-4]
    return response


def mixes_rows_up(name: str, request: Any, response: Any) -> Any:
    if name == "ModelInfer" and not isinstance(response, grpc.RpcError):
        for place, data in enumerate(response.raw_output_contents):
            response.raw_output_contents[place] = data[::-1]
    return response


def calls_floats_integers(name: str, request: Any, response: Any) -> Any:
    if name == "ModelInfer" and not isinstance(response, grpc.RpcError):
        for output in response.outputs:
            output.datatype = "INT32"
    return response


def is_never_ready(name: str, request: Any, response: Any) -> Any:
    if name in ("ServerReady", "ModelReady"):
        response.ready = False
    return response


def knows_every_model(name: str, request: Any, response: Any) -> Any:
    if name == "ModelReady":
        response.ready = True
    return response


def counts_nothing(name: str, request: Any, response: Any) -> Any:
    if name == "ModelStatistics":
        for model in response.model_stats:
            model.ClearField("inference_stats")
    return response


@pytest.mark.parametrize(
    ("twist", "failing"),
    [
        (straight, set()),
        (forgets_ids, {"raw tensors are answered as described"}),
        (
            answers_everything,
            {
                "unknown output is refused",
                "unknown model is not found",
                "unknown version is not found",
                "wrong shape is refused",
                "wrong datatype is refused",
                "no datatype is refused",
                "unknown input is refused",
                "missing input is refused",
                "too few bytes are refused",
                "too few raw contents are refused",
                "too few typed values are refused",
            },
        ),
        (cuts_tensors, {"raw tensors are answered as described"}),
        (mixes_rows_up, {"rows are answered like each alone", "large tensors are answered"}),
        (calls_floats_integers, {"raw tensors are answered as described"}),
        (is_never_ready, {"server is live and ready", "model is ready"}),
        (knows_every_model, {"unknown model is not ready"}),
        (counts_nothing, {"statistics count what was answered"}),
    ],
)
def test_who_deviates_is_found_out(address: str, twist: Twist, failing: set[str]) -> None:
    with twisted(address, twist) as other:
        status, found = conformance(other, "--model", "home")
    failed = {check for check, (verdict, _) in found.items() if verdict == "failed"}
    assert failing <= failed
    assert status == bool(failing)
    if not failing:
        assert not failed
    absent = {check for check, (verdict, _) in found.items() if verdict == "not offered"}
    assert {"stream answers each request", "reflection lists the service"} <= absent
