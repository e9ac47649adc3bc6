"""Messages to values and back: the only module that knows both."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Optional, TypeVar, Union

import numpy as np
from edgetran_protos.generated.edgetran.v1 import (
    deployment_pb2,
    device_pb2,
    measurement_pb2,
    signers_pb2,
    text_pb2,
)
from edgetran_protos.open_inference import message

from edgetran.errors import InputError, UsageError
from edgetran.results import (
    Answer,
    BoardInfo,
    Deployment,
    LeaseState,
    LeaseWaiter,
    Measurement,
    Piece,
    Prediction,
    Quantity,
    RuntimeInfo,
    SensorInfo,
    SensorReport,
    Signer,
    TelemetrySample,
)

Message = TypeVar("Message")
Text = Union[str, tuple[str, str]]
Tensor = np.ndarray[Any, np.dtype[Any]]

DATATYPES: Mapping[str, str] = {  # Open Inference Protocol name -> little-endian numpy type
    "BOOL": "|b1",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
TYPED_FIELDS: Mapping[str, str] = {  # where typed contents of a datatype live
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
BYTES = "BYTES"  # strings: arrays of dtype object that hold bytes (or str, on their way out)
LENGTH = struct.Struct("<I")  # before each string of raw contents


def request(kind: Callable[..., Message], **asked: Any) -> Message:
    """One of `kind` that asks for that. Raises UsageError for what no message can hold."""
    for name, value in asked.items():
        try:
            kind(**{name: value})
        except ValueError as exc:  # beyond a field's numbers, or text that is not UTF-8
            raise UsageError(
                f"{name} cannot be {value!r}", hint=f"leave it out, or choose another ({exc})"
            ) from exc
    return kind(**asked)


def board_info(raw: device_pb2.DescribeResponse) -> BoardInfo:
    return BoardInfo(
        board=raw.board,
        title=raw.title,
        unit=raw.unit,
        emulated=raw.emulated,
        calibration=raw.calibration,
        daemon_version=raw.daemon_version,
        soc=raw.soc,
        cpu_count=raw.cpu_count,
        memory_bytes=raw.memory_bytes,
        threads=raw.threads,
        host_platform=raw.host_platform,
        runtimes=tuple(RuntimeInfo(r.name, r.version, r.unavailable) for r in raw.runtimes),
        sensors=tuple(_sensor_info(sensor) for sensor in raw.sensors),
    )


def lease_state(raw: measurement_pb2.LeaseState) -> LeaseState:
    return LeaseState(
        token=raw.token,
        holder=raw.holder,
        left_s=raw.left_s,
        measuring=raw.measuring,
        waiting=tuple(LeaseWaiter(w.holder, w.priority, w.waited_s) for w in raw.waiting),
    )


def _sensor_info(raw: device_pb2.SensorInfo) -> SensorInfo:
    return SensorInfo(
        name=raw.name,
        scope=raw.scope,
        rate_hz=raw.rate_hz,
        unavailable=raw.unavailable,
        covers=raw.covers,
        bandwidth_hz=raw.bandwidth_hz,
        clock=raw.clock,
        overhead=raw.overhead,
        counts_energy=raw.counts_energy,
        in_use=raw.in_use,
    )


def sensor_report(raw: measurement_pb2.SensorReport) -> SensorReport:
    return SensorReport(
        sensor=raw.sensor,
        reasons=tuple(raw.reasons),
        idle_w=raw.idle_w if raw.HasField("idle_w") else None,
        load_w=raw.load_w if raw.HasField("load_w") else None,
        noise_w=raw.noise_w if raw.HasField("noise_w") else None,
        delay_s=raw.delay_s if raw.HasField("delay_s") else None,
        allowed_delay_s=raw.allowed_delay_s,
        rate_hz=raw.rate_hz,
        stated_rate_hz=raw.stated_rate_hz,
        stale_share=raw.stale_share,
        repeated_share=raw.repeated_share,
        faults=raw.faults,
    )


def telemetry_sample(raw: device_pb2.TelemetrySample) -> TelemetrySample:
    return TelemetrySample(
        monotonic_s=raw.monotonic_s,
        power_w=raw.power_w if raw.HasField("power_w") else None,
        temperature_c=raw.temperature_c if raw.HasField("temperature_c") else None,
        cpu_load=raw.cpu_load if raw.HasField("cpu_load") else None,
        memory_used_bytes=raw.memory_used_bytes,
        throttled=raw.throttled if raw.HasField("throttled") else None,
        clock_hz=raw.clock_hz if raw.HasField("clock_hz") else None,
        modelled=raw.modelled,
    )


def predict_request(texts: Sequence[Text], model: Optional[str]) -> text_pb2.PredictRequest:
    if isinstance(texts, str):
        raise InputError("texts is one string", hint="pass a list of texts, e.g. [text]")
    inputs = [_text_input(row, number) for number, row in enumerate(texts)]
    try:
        return text_pb2.PredictRequest(model=model or "", inputs=inputs)
    except UnicodeEncodeError as exc:
        raise InputError(f"{model!r} cannot be a model's name", hint="it is not UTF-8") from exc


def _text_input(row: Text, number: int) -> text_pb2.TextInput:
    try:
        if isinstance(row, str):
            return text_pb2.TextInput(text=row)
        if _is_pair(row):
            return text_pb2.TextInput(text=row[0], text_pair=row[1])
    except UnicodeEncodeError as exc:
        raise InputError(
            f"text {number} cannot be sent: {row!r}", hint="it is not UTF-8; convert it first"
        ) from exc
    raise InputError(f"text {number} is {row!r}", hint="a text is a string or a pair of strings")


def _is_pair(row: object) -> bool:
    return isinstance(row, (tuple, list)) and len(row) == 2 and all(isinstance(p, str) for p in row)


def answer(raw: text_pb2.PredictResponse) -> Answer:
    return Answer(
        model=raw.model,
        bundle_digest=raw.bundle_digest,
        variant=raw.variant,
        predictions=tuple(Prediction(p.label, p.score, dict(p.scores)) for p in raw.predictions),
        tokenize_s=raw.tokenize_s,
        infer_s=raw.infer_s,
        modelled_infer_s=raw.modelled_infer_s if raw.HasField("modelled_infer_s") else None,
        emulated=raw.emulated,
        calibration=raw.calibration,
    )


def measurement(raw: measurement_pb2.MeasureRecord) -> Measurement:
    return Measurement(
        bundle_digest=raw.bundle_digest,
        variant=raw.variant,
        board=raw.board,
        unit=raw.unit,
        modelled=raw.modelled,
        source=raw.source,
        verdict=raw.verdict,
        reasons=tuple(raw.reasons),
        latency_p50_s=_quantity(raw, "latency_p50_s"),
        latency_p95_s=_quantity(raw, "latency_p95_s"),
        latency_p99_s=_quantity(raw, "latency_p99_s"),
        energy_j=_quantity(raw, "energy_j"),
        peak_power_w=_quantity(raw, "peak_power_w"),
        latency_cv=raw.latency_cv,
        load_s=raw.load_s,
        peak_memory_bytes=raw.peak_memory_bytes,
        artefact_bytes=raw.artefact_bytes,
        threads=raw.threads,
        batch_size=raw.batch_size,
        sequence_length=raw.sequence_length,
        samples_s=tuple(raw.samples_s),
        runs_a_block=raw.runs_a_block,
        runtime=raw.runtime,
        started_unix_s=raw.started_unix_s,
        energy_net_j=_quantity(raw, "energy_net_j"),
        idle_power_w=raw.idle_power_w if raw.HasField("idle_power_w") else None,
        calibration=raw.calibration,
        document=json.loads(raw.document) if raw.document else {},
    )


def piece(raw: measurement_pb2.MeasurePiece) -> Piece:
    return Piece(raw.subject, raw.data, json.loads(raw.begun) if raw.begun else None)


def _quantity(record: Any, name: str) -> Optional[Quantity]:
    if not record.HasField(name):
        return None
    raw: measurement_pb2.Quantity = getattr(record, name)
    return Quantity(
        value=raw.value,
        low=raw.low if raw.HasField("low") else None,
        high=raw.high if raw.HasField("high") else None,
    )


def deployment(raw: deployment_pb2.Deployment) -> Deployment:
    return Deployment(
        model=raw.model,
        bundle_digest=raw.bundle_digest,
        variant=raw.variant,
        state=raw.state,
        reason=raw.reason,
        since_unix_s=raw.since_unix_s,
        artefact_bytes=raw.artefact_bytes,
        task=raw.task,
        signed_by=raw.signed_by,
    )


def signer(raw: signers_pb2.Signer) -> Signer:
    return Signer(name=raw.name, kind=raw.kind, fingerprint=raw.fingerprint, revoked=raw.revoked)


def infer_request(model: str, inputs: Mapping[str, Tensor]) -> Any:
    """inputs: tensor name -> array of any numeric type the protocol has, or of strings."""
    request = message("ModelInferRequest")()
    try:
        request.model_name = model
        for name, values in inputs.items():
            array = np.asarray(values)
            datatype = _datatype(name, array)
            request.inputs.add(name=name, datatype=datatype, shape=array.shape)
            request.raw_input_contents.append(_raw(name, array, datatype))
    except UnicodeEncodeError as exc:
        raise InputError(f"{exc.object!r} cannot be a name", hint="it is not UTF-8") from exc
    return request


def infer_outputs(raw: Any) -> dict[str, Tensor]:
    """Raw contents where the board sent them, typed contents otherwise."""
    if raw.raw_output_contents and len(raw.raw_output_contents) != len(raw.outputs):
        raise InputError(
            f"{len(raw.outputs)} outputs came with {len(raw.raw_output_contents)} contents",
            hint="the server does not keep to the Open Inference Protocol",
        )
    contents: Iterable[Optional[bytes]] = raw.raw_output_contents or [None] * len(raw.outputs)
    return {out.name: _array(out, data) for out, data in zip(raw.outputs, contents)}


def _raw(name: str, array: Tensor, datatype: str) -> bytes:
    if datatype != BYTES:
        return array.astype(DATATYPES[datatype]).tobytes()
    try:
        found = [one.encode() if isinstance(one, str) else one for one in array.ravel().tolist()]
    except UnicodeEncodeError as exc:
        raise InputError(f"input {name!r} is not UTF-8", hint="convert it first") from exc
    if not all(isinstance(one, bytes) for one in found):
        raise InputError(f"input {name!r} holds more than strings", hint="make all of them str")
    return b"".join(LENGTH.pack(len(one)) + one for one in found)


def _datatype(name: str, array: Tensor) -> str:
    if array.dtype.kind in "OSU":
        return BYTES
    for datatype, code in DATATYPES.items():
        if array.dtype.newbyteorder("=") == np.dtype(code).newbyteorder("="):
            return datatype
    raise InputError(
        f"input {name!r} has type {array.dtype}",
        hint=f"convert it to one of {', '.join(DATATYPES)}",
    )


def _array(tensor: Any, data: Optional[bytes]) -> Tensor:
    try:
        if tensor.datatype == BYTES:
            flat = strings(data) if data is not None else _objects(tensor.contents.bytes_contents)
        elif data is not None:
            flat = np.frombuffer(data, DATATYPES[tensor.datatype])
        else:
            values = getattr(tensor.contents, TYPED_FIELDS[tensor.datatype])
            flat = np.array(values, DATATYPES[tensor.datatype])
        return flat.reshape(tuple(tensor.shape))
    except (KeyError, ValueError) as exc:
        raise InputError(
            f"output {tensor.name!r} ({tensor.datatype} {list(tensor.shape)}) cannot be read: {exc}"
        ) from exc


def strings(data: bytes) -> Tensor:
    """Of raw contents. Raises ValueError when they end inside a string."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        if at + LENGTH.size > len(data):
            raise ValueError(f"it ends inside the length of string {len(found)}")
        (size,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if at + size > len(data):
            raise ValueError(f"it ends inside string {len(found)}")
        found.append(data[at : at + size])
        at += size
    return _objects(found)


def _objects(values: Iterable[bytes]) -> Tensor:
    found = list(values)
    array = np.empty(len(found), object)
    array[:] = found
    return array
