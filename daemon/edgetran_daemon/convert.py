"""Messages to values and back: the only module that knows both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Optional, Union

import numpy as np
from edgetran_protos.errors import InputError
from edgetran_protos.generated.edgetran.v1 import (
    deployment_pb2,
    device_pb2,
    measurement_pb2,
    text_pb2,
)
from edgetran_protos.open_inference import message

from edgetran_daemon.deployments import DeployEvent
from edgetran_daemon.describe import Description
from edgetran_daemon.ledger import Record
from edgetran_daemon.records import (
    MeasureProgress,
    MeasureRecord,
    MeasureSpec,
    Quantity,
    Subject,
)
from edgetran_daemon.runtimes.base import Tensor, TensorSpec
from edgetran_daemon.serving import Answer
from edgetran_daemon.telemetry import Sample
from edgetran_daemon.text import Text

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
}


def texts(request: text_pb2.PredictRequest) -> list[Text]:
    return [
        (entry.text, entry.text_pair) if entry.HasField("text_pair") else (entry.text,)
        for entry in request.inputs
    ]


def predict_response(
    model: str, digest: str, variant: str, answer: Answer, modelled_infer_s: Optional[float]
) -> text_pb2.PredictResponse:
    return text_pb2.PredictResponse(
        model=model,
        bundle_digest=digest,
        variant=variant,
        predictions=[
            text_pb2.Prediction(label=one.label, score=one.score, scores=one.scores)
            for one in answer.predictions
        ],
        tokenize_s=answer.tokenize_s,
        infer_s=answer.infer_s,
        modelled_infer_s=modelled_infer_s,
        emulated=modelled_infer_s is not None,
    )


def measure_spec(request: measurement_pb2.MeasureRequest, threads: int) -> MeasureSpec:
    """Zeros take the defaults."""
    default = MeasureSpec(subjects=(), threads=threads)
    return MeasureSpec(
        subjects=tuple(Subject(raw.bundle_digest, raw.variant) for raw in request.subjects),
        threads=request.threads or threads,
        warmup_runs=request.warmup_runs or default.warmup_runs,
        runs=request.runs or default.runs,
        blocks=request.blocks or default.blocks,
        batch_size=request.batch_size or default.batch_size,
        min_block_s=request.min_block_s or default.min_block_s,
    )


def measure_event(event: Union[MeasureProgress, MeasureRecord]) -> measurement_pb2.MeasureEvent:
    if isinstance(event, MeasureProgress):
        step = measurement_pb2.MeasureProgress(
            stage=event.stage, done=event.done, total=event.total
        )
        return measurement_pb2.MeasureEvent(progress=step)
    return measurement_pb2.MeasureEvent(record=_record(event))


def _record(record: MeasureRecord) -> measurement_pb2.MeasureRecord:
    return measurement_pb2.MeasureRecord(
        bundle_digest=record.bundle_digest,
        variant=record.variant,
        board=record.board,
        unit=record.unit,
        modelled=record.modelled,
        source=record.source,
        verdict=record.verdict,
        reasons=record.reasons,
        latency_p50_s=_quantity(record.latency_p50_s),
        latency_p95_s=_quantity(record.latency_p95_s),
        latency_p99_s=_quantity(record.latency_p99_s),
        energy_j=_quantity(record.energy_j),
        peak_power_w=_quantity(record.peak_power_w),
        latency_cv=record.latency_cv,
        load_s=record.load_s,
        peak_memory_bytes=record.peak_memory_bytes,
        artefact_bytes=record.artefact_bytes,
        threads=record.threads,
        batch_size=record.batch_size,
        sequence_length=record.sequence_length,
        samples_s=record.samples_s,
        runs_a_block=record.runs_a_block,
        runtime=record.runtime,
        started_unix_s=record.started_unix_s,
    )


def _quantity(value: Optional[Quantity]) -> Optional[measurement_pb2.Quantity]:
    if value is None:
        return None
    return measurement_pb2.Quantity(value=value.value, low=value.low, high=value.high)


def deploy_event(event: DeployEvent) -> deployment_pb2.DeployEvent:
    return deployment_pb2.DeployEvent(
        step=event.step,
        detail=event.detail,
        deployment=deployment(event.deployment) if event.deployment else None,
    )


def deployment(record: Record) -> deployment_pb2.Deployment:
    return deployment_pb2.Deployment(
        model=record.model,
        bundle_digest=record.bundle_digest,
        variant=record.variant,
        state=record.state,
        reason=record.reason,
        since_unix_s=record.since_unix_s,
        artefact_bytes=record.artefact_bytes,
        task=record.task,
    )


def description(found: Description) -> device_pb2.DescribeResponse:
    board = found.board
    return device_pb2.DescribeResponse(
        board=board.id,
        title=board.title,
        unit=board.unit,
        emulated=board.emulated,
        daemon_version=found.daemon_version,
        soc=board.soc,
        cpu_count=board.cpu_count,
        memory_bytes=board.memory_bytes,
        runtimes=[device_pb2.RuntimeInfo(**asdict(entry)) for entry in found.runtimes],
        sensors=[device_pb2.SensorInfo(**asdict(entry)) for entry in found.sensors],
        threads=found.threads,
        host_platform=found.host_platform,
    )


def telemetry_sample(sample: Sample) -> device_pb2.TelemetrySample:
    return device_pb2.TelemetrySample(
        monotonic_s=sample.monotonic_s,
        power_w=sample.power_w,
        temperature_c=sample.temperature_c,
        cpu_load=sample.cpu_load,
        memory_used_bytes=sample.memory_used_bytes,
        clock_hz=sample.clock_hz,
        modelled=sample.modelled,
    )


def tensor_metadata(metadata: Any, specs: Sequence[TensorSpec]) -> None:
    """Adds one entry a tensor to a repeated TensorMetadata; a free dimension is -1."""
    for spec in specs:
        shape = [-1 if size is None else size for size in spec.shape]
        metadata.add(name=spec.name, datatype=datatype(spec.dtype), shape=shape)


def datatype(dtype: str) -> str:
    code = np.dtype(dtype).newbyteorder("<").str
    for name, known in DATATYPES.items():
        if np.dtype(known).str == code:
            return name
    raise InputError(f"tensors of type {dtype} cannot be sent")


def infer_inputs(request: Any) -> dict[str, Tensor]:
    """A ModelInferRequest's tensors, raw or typed. Raises InputError."""
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise InputError(f"{len(request.inputs)} inputs came with {len(raw)} raw contents")
    found: dict[str, Tensor] = {}
    for place, tensor in enumerate(request.inputs):
        if tensor.name in found:
            raise InputError(f"input {tensor.name!r} came twice")
        found[tensor.name] = _array(tensor, raw[place] if raw else None)
    return found


def _array(tensor: Any, data: Optional[bytes]) -> Tensor:
    _check(tensor, data)
    if data is not None:
        flat = np.frombuffer(data, DATATYPES[tensor.datatype])
        return flat.reshape(tuple(tensor.shape))
    values = getattr(tensor.contents, TYPED_FIELDS[tensor.datatype])
    try:
        return np.array(values, DATATYPES[tensor.datatype]).reshape(tuple(tensor.shape))
    except (ValueError, OverflowError) as exc:
        raise InputError(f"input {tensor.name!r}: {exc}") from exc


def _check(tensor: Any, data: Optional[bytes]) -> None:
    name = tensor.name
    if tensor.datatype == "BYTES":
        raise InputError(
            f"input {name!r} holds BYTES, but the model takes numbers",
            hint="send strings to edgetran.v1.TextService/Predict: it tokenizes on the board",
        )
    known = DATATYPES if data is not None else TYPED_FIELDS
    if tensor.datatype not in known:
        raise InputError(
            f"input {name!r} has datatype {tensor.datatype!r}", hint=f"known: {', '.join(known)}"
        )
    if any(size < 0 for size in tensor.shape):
        raise InputError(f"input {name!r} has shape {list(tensor.shape)}")
    if data is None:
        return
    wanted = np.dtype(DATATYPES[tensor.datatype]).itemsize
    for size in tensor.shape:
        wanted *= size
    if len(data) != wanted:
        raise InputError(f"input {name!r} has {len(data)} bytes, its shape needs {wanted}")


def infer_response(request: Any, model: str, version: str, outputs: Mapping[str, Tensor]) -> Any:
    """Raw contents when the request came raw or a type has no other, typed ones otherwise."""
    response = message("ModelInferResponse")(model_name=model, model_version=version, id=request.id)
    asked = [entry.name for entry in request.outputs] or list(outputs)
    unknown = [name for name in asked if name not in outputs]
    if unknown:
        raise InputError(f"no output {unknown[0]!r}", hint=f"the model gives {', '.join(outputs)}")
    kinds = {name: datatype(outputs[name].dtype.name) for name in asked}
    # The protocol wants all of a response's tensors in one of the two places.
    raw = bool(request.raw_input_contents) or not set(kinds.values()) <= set(TYPED_FIELDS)
    for name in asked:
        tensor = response.outputs.add(name=name, datatype=kinds[name], shape=outputs[name].shape)
        if raw:
            data = outputs[name].astype(DATATYPES[kinds[name]], copy=False).tobytes()
            response.raw_output_contents.append(data)
        else:
            field = getattr(tensor.contents, TYPED_FIELDS[kinds[name]])
            field.extend(outputs[name].ravel().tolist())
    return response
