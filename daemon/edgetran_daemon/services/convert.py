"""Messages of edgetran.v1 to values and back; convert_tensors and convert_models do the rest."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Optional, Union

from edgetran_protos.generated.edgetran.v1 import (
    deployment_pb2,
    device_pb2,
    measurement_pb2,
    signers_pb2,
    text_pb2,
)
from edgetran_protos.measuring.quantity import Quantity
from edgetran_protos.signing import Signer

from edgetran_daemon.board.describe import Description
from edgetran_daemon.board.telemetry import Sample
from edgetran_daemon.deployment.deployments import DeployEvent
from edgetran_daemon.deployment.ledger import Record
from edgetran_daemon.measuring.emulation import Charge
from edgetran_daemon.measuring.lease import Lease, Leases, Queued
from edgetran_daemon.measuring.records import (
    MeasurePiece,
    MeasureProgress,
    MeasureRecord,
    MeasureSpec,
    Subject,
)
from edgetran_daemon.measuring.step_response import SensorReport
from edgetran_daemon.serving.served_model import Answer
from edgetran_daemon.serving.text import Text


def texts(request: text_pb2.PredictRequest) -> list[Text]:
    return [
        (entry.text, entry.text_pair) if entry.HasField("text_pair") else (entry.text,)
        for entry in request.inputs
    ]


def predict_response(
    model: str, digest: str, variant: str, answer: Answer, charge: Optional[Charge]
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
        modelled_infer_s=charge.latency_s if charge else None,
        emulated=charge is not None,
        calibration=charge.calibration if charge else "",
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
        warmup_limit_s=request.warmup_limit_s or default.warmup_limit_s,
        max_blocks=request.max_blocks,
        half_width=request.half_width or default.half_width,
        samples=request.samples,
        lease_token=request.lease_token,
    )


def measure_event(
    event: Union[MeasureProgress, MeasurePiece, MeasureRecord],
) -> measurement_pb2.MeasureEvent:
    if isinstance(event, MeasurePiece):
        begun = json.dumps(event.begun) if event.begun is not None else ""
        piece = measurement_pb2.MeasurePiece(subject=event.subject, data=event.data, begun=begun)
        return measurement_pb2.MeasureEvent(piece=piece)
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
        document=json.dumps(record.document),
        energy_net_j=_quantity(record.energy_net_j),
        idle_power_w=record.idle_power_w,
        calibration=record.calibration,
    )


def _quantity(value: Optional[Quantity]) -> Optional[measurement_pb2.Quantity]:
    if value is None:
        return None
    return measurement_pb2.Quantity(value=value.value, low=value.low, high=value.high)


def test_sensor_event(
    event: Union[MeasureProgress, SensorReport],
) -> measurement_pb2.TestSensorEvent:
    if isinstance(event, MeasureProgress):
        step = measurement_pb2.MeasureProgress(
            stage=event.stage, done=event.done, total=event.total
        )
        return measurement_pb2.TestSensorEvent(progress=step)
    return measurement_pb2.TestSensorEvent(report=measurement_pb2.SensorReport(**asdict(event)))


def lease(found: Lease) -> measurement_pb2.Lease:
    return measurement_pb2.Lease(token=found.token, ttl_s=found.ttl_s)


def lease_event(event: Union[Queued, Lease]) -> measurement_pb2.LeaseEvent:
    if isinstance(event, Lease):
        return measurement_pb2.LeaseEvent(lease=lease(event))
    return measurement_pb2.LeaseEvent(queued=measurement_pb2.LeaseQueued(**asdict(event)))


def lease_state(leases: Leases, measuring: bool) -> measurement_pb2.LeaseState:
    held = leases.held
    return measurement_pb2.LeaseState(
        token=held.token if held else 0,
        holder=held.holder if held else "",
        left_s=leases.left_s,
        measuring=measuring,
        waiting=[
            measurement_pb2.LeaseWaiter(holder=holder, priority=priority, waited_s=waited_s)
            for holder, priority, waited_s in leases.queue()
        ],
    )


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
        signed_by=record.signed_by,
    )


def signer(found: Signer) -> signers_pb2.Signer:
    return signers_pb2.Signer(**asdict(found))


def description(found: Description) -> device_pb2.DescribeResponse:
    board = found.board
    return device_pb2.DescribeResponse(
        board=board.id,
        title=board.title,
        unit=board.unit,
        emulated=board.emulated,
        calibration=board.calibration,
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
        throttled=sample.throttled,
        modelled=sample.modelled,
    )
