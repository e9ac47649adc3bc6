"""What a server may offer beyond the protocol: streams, configuration, statistics, repository."""

from __future__ import annotations

from typing import Any

import grpc

from edgetran.conformance.core import ABSENT
from edgetran.conformance.outcome import NotOffered, ask
from edgetran.conformance.server import ANSWER_S, Server, not_offered, status
from edgetran.conformance.tensors import arrays, close

SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse(status=SERVING)
LIST_SERVICES = b"\x3a\x01*"  # grpc.reflection.*.ServerReflectionRequest(list_services="*")
REFLECTION = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
READY = "READY"


def health_service_says_serving(server: Server) -> None:
    try:
        call: Any = server.channel.unary_unary("/grpc.health.v1.Health/Check")
        found = call(b"", timeout=ANSWER_S)
    except grpc.RpcError as exc:
        raise not_offered(exc, "grpc.health.v1") from exc
    ask(found == SERVING, f"answered {found!r}")


def reflection_lists_the_service(server: Server) -> None:
    for package in REFLECTION:
        path = f"/{package}.ServerReflection/ServerReflectionInfo"
        call: Any = server.channel.stream_stream(path)
        try:
            (found,) = call(iter([LIST_SERVICES]), timeout=ANSWER_S)
        except grpc.RpcError as exc:
            if status(exc) is grpc.StatusCode.UNIMPLEMENTED:
                continue
            raise
        ask(b"inference.GRPCInferenceService" in found, "the inference service is not listed")
        return
    raise NotOffered("reflection is not implemented")


def stream_answers_each_request(server: Server) -> None:
    tensors = server.tensors()
    requests = [server.request(tensors) for _ in range(5)]
    for number, request in enumerate(requests):
        request.id = str(number)
    found = list(server.stream(requests))
    ask(len(found) == len(requests), f"{len(requests)} requests, {len(found)} responses")
    errors = [one.error_message for one in found if one.error_message]
    ask(not errors, f"refused: {errors[:1]}")
    ids = [one.infer_response.id for one in found]
    ask(ids == [request.id for request in requests], f"ids {ids} came back")
    wanted = server.infer(tensors)
    for name, values in arrays(found[-1].infer_response).items():
        ask(close(values, wanted[name]), f"{name} differs from the answer without a stream")


def stream_goes_on_after_a_refusal(server: Server) -> None:
    requests = [server.request(server.tensors()) for _ in range(3)]
    for number, request in enumerate(requests):
        request.id = str(number)
    requests[1].model_name, requests[1].model_version = ABSENT, ""
    found = list(server.stream(requests))
    refused = [bool(one.error_message) for one in found]
    ask(refused == [False, True, False], f"refusals of the three: {refused}")


def configuration_agrees_with_the_metadata(server: Server) -> None:
    config = server.optional("ModelConfig", name=server.model, version=server.version).config
    ask(config.name == server.model, f"says its name is {config.name!r}")
    for told, described in (
        (config.input, server.metadata.inputs),
        (config.output, server.metadata.outputs),
    ):
        names = ({entry.name for entry in told}, {spec.name for spec in described})
        ask(names[0] == names[1], f"configured {sorted(names[0])}, described {sorted(names[1])}")


def statistics_count_what_was_answered(server: Server) -> None:
    before = _statistics(server)
    server.infer(server.tensors())
    server.infer(server.tensors())
    after = _statistics(server)
    count = after.inference_stats.success.count - before.inference_stats.success.count
    ask(count == 2, f"two requests were counted as {count}")
    ask(after.inference_stats.success.ns > before.inference_stats.success.ns, "took no time")


def _statistics(server: Server) -> Any:
    found = server.optional("ModelStatistics", name=server.model, version=server.version)
    ask(len(found.model_stats) == 1, f"{len(found.model_stats)} models' statistics came")
    return found.model_stats[0]


def index_lists_the_model_as_ready(server: Server) -> None:
    found = server.optional("RepositoryIndex")
    mine = [entry for entry in found.models if entry.name == server.model]
    ask(len(mine) > 0, f"{server.model} is not listed")
    ask(any(entry.state == READY for entry in mine), f"its state is {mine[0].state!r}")


def unknown_model_cannot_be_loaded(server: Server) -> None:
    try:
        server.optional("RepositoryModelLoad", model_name=ABSENT)
    except grpc.RpcError as exc:
        code = status(exc)
        wanted = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
        ask(code in wanted, f"refused as {code}")
    else:
        ask(False, "was loaded")


def model_leaves_and_comes_back(server: Server) -> None:
    """Disturbs other clients, so it is only done when asked for."""
    server.optional("RepositoryModelUnload", model_name=server.model)
    try:
        ready = server.call("ModelReady", name=server.model).ready
        ask(not ready, "it was unloaded and is ready")
    except grpc.RpcError as exc:
        ask(status(exc) is grpc.StatusCode.NOT_FOUND, f"asked if ready: {status(exc)}")
    finally:
        server.optional("RepositoryModelLoad", model_name=server.model)
    ask(server.call("ModelReady", name=server.model).ready, "it was loaded and is not ready")
    server.infer(server.tensors())


CHECKS = (
    health_service_says_serving,
    reflection_lists_the_service,
    stream_answers_each_request,
    stream_goes_on_after_a_refusal,
    configuration_agrees_with_the_metadata,
    statistics_count_what_was_answered,
    index_lists_the_model_as_ready,
    unknown_model_cannot_be_loaded,
)
DISTURBING = (model_leaves_and_comes_back,)
