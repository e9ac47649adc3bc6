"""A board for asyncio programs: the same verbs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Optional, Union

from edgetran_protos.bundle import Bundle
from edgetran_protos.fencing import lease_metadata
from edgetran_protos.generated.edgetran.v1 import deployment_pb2, device_pb2, measurement_pb2
from edgetran_protos.generated.edgetran.v1.deployment_pb2_grpc import DeploymentServiceStub
from edgetran_protos.generated.edgetran.v1.device_pb2_grpc import DeviceServiceStub
from edgetran_protos.generated.edgetran.v1.measurement_pb2_grpc import MeasurementServiceStub
from edgetran_protos.generated.edgetran.v1.text_pb2_grpc import TextServiceStub
from edgetran_protos.open_inference import SERVICE, message

from edgetran import convert
from edgetran.board import Subject, deploy_progress
from edgetran.channel import inference, open_async_channel, translated
from edgetran.convert import Tensor, Text
from edgetran.errors import BoardError
from edgetran.lease import AsyncLease, Wish, this_program
from edgetran.progress import OnProgress, Progress, ignore
from edgetran.results import (
    Answer,
    BoardInfo,
    Deployment,
    LeaseState,
    Measurement,
    OnPiece,
    Prediction,
    SensorReport,
    TelemetrySample,
)
from edgetran.upload import AsyncUpload

ASK_S = 30.0
INFER_S = 120.0
DEPLOY_S = 600.0
MEASURE_S = 1800.0  # a subject


class AsyncBoard:
    """One daemon behind one address. Made by `edgetran.connect_async`; use `async with`."""

    def __init__(self, address: str, threads: Optional[int] = None) -> None:
        self.address = address
        self._threads = threads or 0  # of measurements; 0: the daemon's choice
        self._channel = open_async_channel(address)
        self._device = DeviceServiceStub(self._channel)
        self._text = TextServiceStub(self._channel)
        self._measurement = MeasurementServiceStub(self._channel)
        self._leases: list[AsyncLease] = []  # that are held, and the last one made
        self._deployment = DeploymentServiceStub(self._channel)
        self._model_infer = self._channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=message("ModelInferRequest").SerializeToString,
            response_deserializer=message("ModelInferResponse").FromString,
        )

    def __repr__(self) -> str:
        return f"AsyncBoard({self.address!r})"

    async def __aenter__(self) -> AsyncBoard:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    async def describe(self) -> BoardInfo:
        with translated(self.address):
            raw = await self._device.Describe(device_pb2.DescribeRequest(), timeout=ASK_S)
        return convert.board_info(raw)

    async def telemetry(self, period_s: float = 1.0) -> AsyncIterator[TelemetrySample]:
        """Samples until the caller stops reading."""
        with translated(self.address):
            call = self._device.Telemetry(device_pb2.TelemetryRequest(period_s=period_s))
        try:
            with translated(self.address):
                async for raw in call:
                    yield convert.telemetry_sample(raw)
        finally:
            call.cancel()

    async def test_sensor(
        self,
        name: str = "",
        *,
        phase_s: float = 0.0,
        steps: int = 0,
        on_progress: OnProgress = ignore,
    ) -> SensorReport:
        """As `Board.test_sensor`; cancelling it stops the load."""
        request = convert.request(
            measurement_pb2.TestSensorRequest,
            sensor=name,
            phase_s=phase_s,
            steps=steps,
            lease_token=self.lease_token,
        )
        found = None
        with translated(self.address):
            call = self._measurement.TestSensor(request, timeout=MEASURE_S)
        try:
            with translated(self.address):
                async for event in call:
                    if event.HasField("report"):
                        found = convert.sensor_report(event.report)
                    else:
                        step = event.progress
                        on_progress(Progress(step.stage, step.done, step.total))
        finally:
            call.cancel()
        if found is None:
            raise BoardError("the test ended without a report")
        return found

    async def predict(self, texts: Sequence[Text], model: Optional[str] = None) -> list[Prediction]:
        return list((await self.answer(texts, model)).predictions)

    async def answer(self, texts: Sequence[Text], model: Optional[str] = None) -> Answer:
        request = convert.predict_request(texts, model)
        with translated(self.address):
            raw = await self._text.Predict(request, timeout=INFER_S)
        return convert.answer(raw)

    async def infer(self, model: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        request = convert.infer_request(model, inputs)
        with translated(self.address):
            raw = await self._model_infer(request, timeout=INFER_S)
        return convert.infer_outputs(raw)

    def lease(
        self,
        ttl_s: float = 30.0,
        holder: str = "",
        *,
        wait: bool = False,
        priority: int = 0,
        on_progress: OnProgress = ignore,
    ) -> AsyncLease:
        """`async with board.lease():` nobody else measures; see `Board.lease`."""
        wish = Wish(ttl_s, holder or this_program(), wait, priority, on_progress)
        made = AsyncLease(self._measurement, self.address, wish)
        self._leases = [*(one for one in self._leases if one.token), made]
        return made

    @property
    def lease_token(self) -> int:
        """Of the lease that is held; 0: none is."""
        return next((one.token for one in reversed(self._leases) if one.token), 0)

    def _fence(self) -> tuple[tuple[str, str], ...]:
        return lease_metadata(self.lease_token)

    async def leased(self) -> LeaseState:
        """Who has the board, and who waits for it."""
        with translated(self.address):
            raw = await self._measurement.ShowLease(
                measurement_pb2.ShowLeaseRequest(), timeout=ASK_S
            )
        return convert.lease_state(raw)

    async def release(self, token: int) -> None:
        """Ends a lease, whoever has it. Raises LeaseLost when it has ended already."""
        request = convert.request(measurement_pb2.ReleaseLeaseRequest, token=token)
        with translated(self.address):
            await self._measurement.ReleaseLease(request, timeout=ASK_S)

    async def measure(
        self,
        subjects: Sequence[Subject],
        *,
        warmup_runs: int = 0,
        runs: int = 0,
        blocks: int = 0,
        threads: int = 0,
        batch_size: int = 0,
        min_block_s: float = 0.0,
        warmup_limit_s: float = 0.0,
        max_blocks: int = 0,
        half_width: float = 0.0,
        on_piece: Optional[OnPiece] = None,
        on_progress: OnProgress = ignore,
    ) -> list[Measurement]:
        """As `Board.measure`. Cancelling it stops the work on the board."""
        request = convert.request(
            measurement_pb2.MeasureRequest,
            subjects=[
                convert.request(
                    measurement_pb2.Subject,
                    bundle_digest=await self._sent(bundle, on_progress),
                    variant=variant or "",
                )
                for bundle, variant in subjects
            ],
            warmup_runs=warmup_runs,
            runs=runs,
            blocks=blocks,
            threads=threads or self._threads,
            batch_size=batch_size,
            min_block_s=min_block_s,
            lease_token=self.lease_token,
            warmup_limit_s=warmup_limit_s,
            max_blocks=max_blocks,
            half_width=half_width,
            samples=on_piece is not None,
        )
        records = []
        with translated(self.address):
            call = self._measurement.Measure(request, timeout=MEASURE_S * max(1, len(subjects)))
        try:
            with translated(self.address):
                async for event in call:
                    if event.HasField("record"):
                        records.append(convert.measurement(event.record))
                    elif event.HasField("piece"):
                        if on_piece is not None:
                            on_piece(convert.piece(event.piece))
                    elif event.HasField("progress"):
                        step = event.progress
                        on_progress(Progress(step.stage, step.done, step.total))
        finally:
            call.cancel()
        if len(records) != len(subjects):
            raise BoardError(f"{len(subjects)} subjects gave {len(records)} records")
        return records

    async def upload(self, bundle: Bundle, on_progress: OnProgress = ignore) -> None:
        """Sends what the board lacks; a broken connection is resumed where it stopped."""
        await AsyncUpload(self._deployment, self.address, bundle, on_progress, self._fence()).run()

    async def missing_bytes(self, bundle: Bundle) -> int:
        """How much of it the board lacks."""
        return await AsyncUpload(self._deployment, self.address, bundle, ignore).missing_bytes()

    async def discard(self, digest: str) -> int:
        """Drops a bundle that was sent and is not deployed; returns the bytes freed."""
        request = convert.request(deployment_pb2.DiscardRequest, bundle_digest=digest)
        with translated(self.address):
            return (
                await self._deployment.Discard(request, timeout=ASK_S, metadata=self._fence())
            ).freed_bytes

    async def _sent(self, bundle: Union[Bundle, str], on_progress: OnProgress) -> str:
        """Its digest."""
        if isinstance(bundle, str):
            return bundle
        await self.upload(bundle, on_progress)
        return bundle.digest

    async def deploy(
        self,
        bundle: Bundle,
        *,
        model: Optional[str] = None,
        variant: Optional[str] = None,
        follow: bool = False,
        allow_older: bool = False,
        on_progress: OnProgress = ignore,
    ) -> Deployment:
        """As `Board.deploy`; a cancelled one leaves the old model serving."""
        await self.upload(bundle, on_progress)
        request = convert.request(
            deployment_pb2.DeployRequest,
            model=model or bundle.card.name,
            bundle_digest=bundle.digest,
            variant=variant or "",
            follow=follow,
            allow_older=allow_older,
        )
        deployed = None
        with translated(self.address):
            call = self._deployment.Deploy(request, timeout=DEPLOY_S, metadata=self._fence())
        try:
            with translated(self.address):
                async for event in call:
                    last = event.HasField("deployment") and not (follow and event.step == "watch")
                    on_progress(deploy_progress(event.step, event.detail, last))
                    if event.HasField("deployment"):
                        deployed = convert.deployment(event.deployment)
        finally:
            call.cancel()
        if deployed is None:
            raise BoardError("the deployment ended without a result", hint="see `deployments()`")
        return deployed

    async def rollback(self, model: str, reason: str = "") -> Deployment:
        """Back to the bundle that served before under this name."""
        request = convert.request(deployment_pb2.RollbackRequest, model=model, reason=reason)
        with translated(self.address):
            return convert.deployment(
                await self._deployment.Rollback(request, timeout=DEPLOY_S, metadata=self._fence())
            )

    async def remove(self, model: str) -> int:
        """Stops serving a model, after what it is answering; returns the bytes freed."""
        request = convert.request(deployment_pb2.RemoveRequest, model=model)
        with translated(self.address):
            return (
                await self._deployment.Remove(request, timeout=DEPLOY_S, metadata=self._fence())
            ).freed_bytes

    async def load(self, model: str) -> None:
        """Serves a deployed model that was unloaded."""
        request = convert.request(message("RepositoryModelLoadRequest"), model_name=model)
        with translated(self.address):
            await inference(self._channel, "RepositoryModelLoad")(
                request, timeout=DEPLOY_S, metadata=self._fence()
            )

    async def unload(self, model: str) -> None:
        """Frees a model's memory; it stays deployed and is not served."""
        request = convert.request(message("RepositoryModelUnloadRequest"), model_name=model)
        with translated(self.address):
            await inference(self._channel, "RepositoryModelUnload")(
                request, timeout=DEPLOY_S, metadata=self._fence()
            )

    async def deployments(self, history: bool = False) -> list[Deployment]:
        request = deployment_pb2.ListDeploymentsRequest(history=history)
        with translated(self.address):
            raw = await self._deployment.ListDeployments(request, timeout=ASK_S)
        return [convert.deployment(entry) for entry in raw.deployments]
