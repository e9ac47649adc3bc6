"""What every server of the protocol must do: health, metadata, inference, refusals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from edgetran_protos.open_inference import message

from edgetran.conformance.outcome import Deviation, NotOffered, ask
from edgetran.conformance.server import Server, status
from edgetran.conformance.tensors import arrays, close, free_rows
from edgetran.convert import BYTES, DATATYPES, TYPED_FIELDS

ABSENT = "no-model-has-this-name"
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
LARGE_BYTES = 1 << 20
LARGEST_ROWS = 512
CALLERS, CALLS = 8, 32
TINY_S = 1e-6


def server_is_live_and_ready(server: Server) -> None:
    ask(server.call("ServerLive").live, "not live")
    ask(server.call("ServerReady").ready, "not ready")


def server_has_a_name_and_a_version(server: Server) -> None:
    told = server.call("ServerMetadata")
    ask(bool(told.name), "no name")
    ask(bool(told.version), "no version")


def model_is_ready(server: Server) -> None:
    ready = server.call("ModelReady", name=server.model, version=server.version).ready
    ask(ready, f"{server.model} is not ready")


def unknown_model_is_not_ready(server: Server) -> None:
    try:
        ask(not server.call("ModelReady", name=ABSENT).ready, f"{ABSENT!r} is ready")
    except grpc.RpcError as exc:
        ask(status(exc) is NOT_FOUND, f"ended with {status(exc)}")


def metadata_describes_the_tensors(server: Server) -> None:
    told = server.metadata
    ask(told.name == server.model, f"says its name is {told.name!r}")
    ask(len(told.inputs) > 0, "no inputs")
    ask(len(told.outputs) > 0, "no outputs")
    for tensor in [*told.inputs, *told.outputs]:
        known = tensor.datatype in DATATYPES or tensor.datatype in TYPED_FIELDS
        ask(bool(tensor.name), "a tensor without a name")
        ask(known, f"{tensor.name} has datatype {tensor.datatype!r}")
        ask(all(size >= -1 for size in tensor.shape), f"{tensor.name} has a size below -1")


def metadata_of_an_unknown_model_is_not_found(server: Server) -> None:
    try:
        server.call("ModelMetadata", name=ABSENT)
    except grpc.RpcError as exc:
        ask(status(exc) is NOT_FOUND, f"refused as {status(exc)}")
    else:
        raise Deviation("was answered")


def raw_tensors_are_answered_as_described(server: Server) -> None:
    request = server.request(server.tensors())
    request.id = "an id of ours"
    response = server.send(request)
    ask(response.id == request.id, f"id {response.id!r} came back")
    ask(response.model_name == server.model, f"model_name {response.model_name!r} came back")
    found = arrays(response)
    described = {spec.name: spec for spec in server.metadata.outputs}
    ask(set(found) <= set(described), f"outputs {sorted(found)}, described {sorted(described)}")
    for output in response.outputs:
        spec = described[output.name]
        same = output.datatype == spec.datatype
        ask(same, f"{output.name} is {output.datatype}, described as {spec.datatype}")
        fits = len(output.shape) == len(spec.shape) and all(
            wanted in (-1, size) for wanted, size in zip(spec.shape, output.shape)
        )
        ask(fits, f"{output.name} is {list(output.shape)}, described as {list(spec.shape)}")


def typed_tensors_are_answered_like_raw_ones(server: Server) -> None:
    tensors = server.tensors()
    raw, typed = server.infer(tensors), server.infer(tensors, typed=True)
    ask(set(raw) == set(typed), f"outputs {sorted(typed)}, raw {sorted(raw)}")
    for name, wanted in raw.items():
        ask(close(typed[name], wanted), f"{name} differs from the answer to raw tensors")


def rows_are_answered_like_each_alone(server: Server) -> None:
    _compare_rows(server, 3)


def large_tensors_are_answered(server: Server) -> None:
    one = sum(values.nbytes for values in server.tensors().values())
    _compare_rows(server, max(2, min(LARGEST_ROWS, LARGE_BYTES // max(1, one) + 1)))


def _compare_rows(server: Server, rows: int) -> None:
    if not free_rows([*server.metadata.inputs, *server.metadata.outputs]):
        raise NotOffered("the model fixes its rows")
    tensors = server.tensors(rows)
    together = server.infer(tensors)
    for row in {0, rows // 2, rows - 1}:
        alone = server.infer({name: values[row : row + 1] for name, values in tensors.items()})
        for name, wanted in alone.items():
            found = together[name]
            ask(len(found) == rows, f"{rows} rows were answered by {len(found)} of {name}")
            ask(close(found[row : row + 1], wanted), f"row {row} of {name} differs from it alone")


def only_the_outputs_asked_for_come(server: Server) -> None:
    wanted = server.metadata.outputs[0].name
    request = server.request(server.tensors())
    request.outputs.add(name=wanted)
    found = [output.name for output in server.send(request).outputs]
    ask(found == [wanted], f"asked for {wanted}, got {found}")


def unknown_output_is_refused(server: Server) -> None:
    request = server.request(server.tensors())
    request.outputs.add(name="no-such-output")
    server.refuses(request, INVALID)


def unknown_model_is_not_found(server: Server) -> None:
    request = server.request(server.tensors())
    request.model_name, request.model_version = ABSENT, ""
    server.refuses(request, NOT_FOUND)


def unknown_version_is_not_found(server: Server) -> None:
    request = server.request(server.tensors())
    request.model_version = "987654321"
    server.refuses(request, NOT_FOUND)


def wrong_shape_is_refused(server: Server) -> None:
    tensors = server.tensors()
    name, values = next(iter(tensors.items()))
    tensors[name] = np.stack([values, values]).reshape(2, 1, *values.shape)
    server.refuses(server.request(tensors), INVALID)


def wrong_datatype_is_refused(server: Server) -> None:
    request = server.request(server.tensors())
    tensor = request.inputs[0]
    tensor.datatype = "FP64" if tensor.datatype != "FP64" else "INT64"
    count = int(np.prod(list(tensor.shape), dtype=np.int64))
    request.raw_input_contents[0] = bytes(8 * count)
    server.refuses(request, INVALID)


def no_datatype_is_refused(server: Server) -> None:
    request = server.request(server.tensors())
    request.inputs[0].datatype = "NO_SUCH_TYPE"
    server.refuses(request, INVALID)


def unknown_input_is_refused(server: Server) -> None:
    request = server.request(server.tensors())
    request.inputs[0].name = "no-such-input"
    server.refuses(request, INVALID)


def missing_input_is_refused(server: Server) -> None:
    server.refuses(
        message("ModelInferRequest")(model_name=server.model, model_version=server.version), INVALID
    )


def too_few_bytes_are_refused(server: Server) -> None:
    request = server.request(server.tensors())
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]
    server.refuses(request, INVALID)


def too_few_raw_contents_are_refused(server: Server) -> None:
    request = server.request(server.tensors())
    request.inputs.add().CopyFrom(request.inputs[0])
    request.inputs[-1].name += "-again"
    server.refuses(request, INVALID)


def too_few_typed_values_are_refused(server: Server) -> None:
    request = server.request(server.tensors(), typed=True)
    tensor = request.inputs[0]
    getattr(tensor.contents, TYPED_FIELDS[tensor.datatype]).pop()
    server.refuses(request, INVALID)


def strings_that_end_early_are_refused(server: Server) -> None:
    places = [n for n, spec in enumerate(server.metadata.inputs) if spec.datatype == BYTES]
    if not places:
        raise NotOffered("the model takes no strings")
    request = server.request(server.tensors())
    request.raw_input_contents[places[0]] = b"\xff\xff\x00\x00abc"
    server.refuses(request, INVALID)


def many_callers_are_answered_alike(server: Server) -> None:
    tensors = server.tensors()
    wanted = server.infer(tensors)
    with ThreadPoolExecutor(CALLERS) as pool:
        for found in pool.map(lambda _: server.infer(tensors), range(CALLS)):
            for name, values in wanted.items():
                ask(close(found[name], values), f"{name} differs between equal requests")


def deadline_is_kept_and_costs_nothing_else(server: Server) -> None:
    tensors = server.tensors()
    try:
        server.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(
            server.request(tensors).SerializeToString(), timeout=TINY_S
        )
    except grpc.RpcError as exc:
        late = grpc.StatusCode.DEADLINE_EXCEEDED
        ask(status(exc) is late, f"a missed deadline ended with {status(exc)}")
    server.infer(tensors)


def still_answers_after_all_that(server: Server) -> None:
    server.infer(server.tensors())
    ask(server.call("ServerReady").ready, "no longer ready")


CHECKS = (
    server_is_live_and_ready,
    server_has_a_name_and_a_version,
    model_is_ready,
    unknown_model_is_not_ready,
    metadata_describes_the_tensors,
    metadata_of_an_unknown_model_is_not_found,
    raw_tensors_are_answered_as_described,
    typed_tensors_are_answered_like_raw_ones,
    rows_are_answered_like_each_alone,
    large_tensors_are_answered,
    only_the_outputs_asked_for_come,
    unknown_output_is_refused,
    unknown_model_is_not_found,
    unknown_version_is_not_found,
    wrong_shape_is_refused,
    wrong_datatype_is_refused,
    no_datatype_is_refused,
    unknown_input_is_refused,
    missing_input_is_refused,
    too_few_bytes_are_refused,
    too_few_raw_contents_are_refused,
    too_few_typed_values_are_refused,
    strings_that_end_early_are_refused,
    many_callers_are_answered_alike,
    deadline_is_kept_and_costs_nothing_else,
    still_answers_after_all_that,
)
