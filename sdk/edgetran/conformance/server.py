"""The server under test: calls by name, and statuses as what a check expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Optional

import grpc
import numpy as np
from edgetran_protos.open_inference import SERVICE, message, methods

from edgetran.channel import OPTIONS, inference
from edgetran.conformance.outcome import Deviation, NotOffered, ask
from edgetran.conformance.tensors import arrays, made, raw
from edgetran.convert import TYPED_FIELDS, Tensor

ANSWER_S = 60.0


class Server:
    """`model` and `version` are what the checks ask for; an empty version: the server's choice."""

    def __init__(self, address: str, model: str, version: str = "", seed: int = 0) -> None:
        self.address = address
        self.model = model
        self.version = version
        self.rng = np.random.default_rng(seed)
        self.channel = grpc.insecure_channel(address, options=list(OPTIONS))

    def close(self) -> None:
        self.channel.close()

    @cached_property
    def metadata(self) -> Any:
        return self.call("ModelMetadata", name=self.model, version=self.version)

    def tensors(self, rows: int = 1) -> dict[str, Tensor]:
        return made(self.metadata.inputs, rows, self.rng)

    def call(self, name: str, /, **values: Any) -> Any:
        """Raises grpc.RpcError."""
        request = methods()[name].request(**values)
        return inference(self.channel, name)(request, timeout=ANSWER_S)

    def optional(self, name: str, /, **values: Any) -> Any:
        """The same of an extension. Raises NotOffered where there is none."""
        try:
            return self.call(name, **values)
        except grpc.RpcError as exc:
            raise not_offered(exc, name) from exc

    def infer(self, tensors: Mapping[str, Tensor], typed: bool = False) -> dict[str, Tensor]:
        response = self.send(self.request(tensors, typed))
        return arrays(response)

    def send(self, request: Any) -> Any:
        return inference(self.channel, "ModelInfer")(request, timeout=ANSWER_S)

    def request(self, tensors: Mapping[str, Tensor], typed: bool = False) -> Any:
        """A ModelInferRequest with these tensors, whose types are those of the metadata."""
        datatypes = {spec.name: spec.datatype for spec in self.metadata.inputs}
        request = message("ModelInferRequest")(model_name=self.model, model_version=self.version)
        for name, values in tensors.items():
            datatype = datatypes[name]
            tensor = request.inputs.add(name=name, datatype=datatype, shape=values.shape)
            if not typed:
                request.raw_input_contents.append(raw(values, datatype))
            elif datatype not in TYPED_FIELDS:
                raise NotOffered(f"{datatype} has no typed contents")
            else:
                getattr(tensor.contents, TYPED_FIELDS[datatype]).extend(values.ravel().tolist())
        return request

    def stream(self, requests: Sequence[Any]) -> Iterator[Any]:
        """The responses of one ModelStreamInfer. Raises NotOffered."""
        method = methods()["ModelStreamInfer"]
        call = self.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )(iter(requests), timeout=ANSWER_S)
        try:
            yield from call
        except grpc.RpcError as exc:
            raise not_offered(exc, "ModelStreamInfer") from exc

    def refuses(self, request: Any, *statuses: grpc.StatusCode) -> None:
        """Raises Deviation unless the request is refused with one of the statuses."""
        try:
            self.send(request)
        except grpc.RpcError as exc:
            found = status(exc)
            names = " or ".join(wanted.name for wanted in statuses)
            ask(found in statuses, f"refused as {_name(found)}, not {names}: {details(exc)}")
            ask(bool(details(exc)), "refused without a word")
        else:
            raise Deviation("was answered")


def not_offered(exc: grpc.RpcError, name: str) -> Exception:
    if status(exc) is grpc.StatusCode.UNIMPLEMENTED:
        return NotOffered(f"{name} is not implemented")
    return exc


def status(exc: grpc.RpcError) -> Optional[grpc.StatusCode]:
    return exc.code() if isinstance(exc, grpc.Call) else None


def details(exc: grpc.RpcError) -> str:
    return (exc.details() or "") if isinstance(exc, grpc.Call) else str(exc)


def _name(code: Optional[grpc.StatusCode]) -> str:
    return code.name if code is not None else "no status"
