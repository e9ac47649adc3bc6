"""A board to talk to: every verb of the daemon as one method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import Optional, Union

from edgetran_protos.bundle import Bundle
from edgetran_protos.fencing import lease_metadata
from edgetran_protos.generated.edgetran.v1 import deployment_pb2 as deployment_messages
from edgetran_protos.generated.edgetran.v1 import device_pb2, measurement_pb2
from edgetran_protos.generated.edgetran.v1 import signers_pb2 as signer_messages
from edgetran_protos.generated.edgetran.v1.deployment_pb2_grpc import DeploymentServiceStub
from edgetran_protos.generated.edgetran.v1.device_pb2_grpc import DeviceServiceStub
from edgetran_protos.generated.edgetran.v1.measurement_pb2_grpc import MeasurementServiceStub
from edgetran_protos.generated.edgetran.v1.signers_pb2_grpc import SignerServiceStub
from edgetran_protos.generated.edgetran.v1.text_pb2_grpc import TextServiceStub
from edgetran_protos.open_inference import SERVICE, message

from edgetran import convert
from edgetran.channel import inference, open_channel, stream, translated
from edgetran.convert import Tensor, Text
from edgetran.errors import BoardError
from edgetran.lease import Lease, Wish, this_program
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
    Signer,
    TelemetrySample,
    Trusted,
)
from edgetran.upload import Upload

ASK_S = 30.0  # deadline of a question that needs no work
INFER_S = 120.0
DEPLOY_S = 600.0
MEASURE_S = 1800.0  # a subject
DEPLOY_STEPS = ("verify", "stage", "probe", "canary", "switch", "watch", "commit")

Subject = tuple[Union[Bundle, str], Optional[str]]  # bundle or its digest; variant or None


class Board:
    """One daemon behind one address. Made by `edgetran.connect`; use it in a `with`."""

    def __init__(self, address: str, threads: Optional[int] = None) -> None:
        self.address = address
        self._threads = threads or 0  # of measurements; 0: the daemon's choice
        self._leases: list[Lease] = []  # that are held, and the last one made
        self._channel = open_channel(address)
        self._device = DeviceServiceStub(self._channel)
        self._text = TextServiceStub(self._channel)
        self._measurement = MeasurementServiceStub(self._channel)
        self._deployment = DeploymentServiceStub(self._channel)
        self._signers = SignerServiceStub(self._channel)
        self._model_infer = self._channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=message("ModelInferRequest").SerializeToString,
            response_deserializer=message("ModelInferResponse").FromString,
        )

    def __repr__(self) -> str:
        return f"Board({self.address!r})"

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def describe(self) -> BoardInfo:
        with translated(self.address):
            raw = self._device.Describe(device_pb2.DescribeRequest(), timeout=ASK_S)
        return convert.board_info(raw)

    def telemetry(self, period_s: float = 1.0) -> Iterator[TelemetrySample]:
        """Samples until the caller stops reading."""
        with translated(self.address):
            events = self._device.Telemetry(device_pb2.TelemetryRequest(period_s=period_s))
        for raw in stream(events, self.address):
            yield convert.telemetry_sample(raw)

    def test_sensor(
        self,
        name: str = "",
        *,
        phase_s: float = 0.0,
        steps: int = 0,
        on_progress: OnProgress = ignore,
    ) -> SensorReport:
        """Loads all cores of the board in steps and says whether its power sensor follows.

        name: of the sensor, the one in use when empty. Zeros leave the choice to the daemon.
        """
        request = convert.request(
            measurement_pb2.TestSensorRequest,
            sensor=name,
            phase_s=phase_s,
            steps=steps,
            lease_token=self.lease_token,
        )
        with translated(self.address):
            events = self._measurement.TestSensor(request, timeout=MEASURE_S)
        found = None
        with closing(stream(events, self.address)) as answers:
            for event in answers:
                if event.HasField("report"):
                    found = convert.sensor_report(event.report)
                else:
                    step = event.progress
                    on_progress(Progress(step.stage, step.done, step.total))
        if found is None:
            raise BoardError("the test ended without a report")
        return found

    def predict(self, texts: Sequence[Text], model: Optional[str] = None) -> list[Prediction]:
        """One prediction a text (or pair of texts); model None: the only one deployed."""
        return list(self.answer(texts, model).predictions)

    def answer(self, texts: Sequence[Text], model: Optional[str] = None) -> Answer:
        """The predictions with the times they took."""
        request = convert.predict_request(texts, model)
        with translated(self.address):
            return convert.answer(self._text.Predict(request, timeout=INFER_S))

    def infer(self, model: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors in, tensors out, over the Open Inference Protocol."""
        request = convert.infer_request(model, inputs)
        with translated(self.address):
            raw = self._model_infer(request, timeout=INFER_S)
        return convert.infer_outputs(raw)

    def upload(self, bundle: Bundle, on_progress: OnProgress = ignore) -> None:
        """Sends what the board lacks; a broken connection is resumed where it stopped."""
        with translated(self.address):
            Upload(self._channel, self.address, bundle, on_progress, self._fence()).run()

    def lease(
        self,
        ttl_s: float = 30.0,
        holder: str = "",
        *,
        wait: bool = False,
        priority: int = 0,
        on_progress: OnProgress = ignore,
    ) -> Lease:
        """`with board.lease():` nobody else measures; what this board measures is under it.

        It is renewed in the background and ends with the `with`, or `ttl_s` after this
        program hangs or dies. holder: what those who have to wait are told. wait: in the
        board's queue, by priority (larger ones first), while another has the board.
        """
        wish = Wish(ttl_s, holder or this_program(), wait, priority, on_progress)
        made = Lease(self._measurement, self.address, wish)
        self._leases = [*(one for one in self._leases if one.token), made]
        return made

    @property
    def lease_token(self) -> int:
        """Of the lease that is held; 0: none is."""
        return next((one.token for one in reversed(self._leases) if one.token), 0)

    def _fence(self) -> tuple[tuple[str, str], ...]:
        return lease_metadata(self.lease_token)

    def leased(self) -> LeaseState:
        """Who has the board, and who waits for it."""
        with translated(self.address):
            raw = self._measurement.ShowLease(measurement_pb2.ShowLeaseRequest(), timeout=ASK_S)
        return convert.lease_state(raw)

    def release(self, token: int) -> None:
        """Ends a lease, whoever has it. Raises LeaseLost when it has ended already."""
        request = convert.request(measurement_pb2.ReleaseLeaseRequest, token=token)
        with translated(self.address):
            self._measurement.ReleaseLease(request, timeout=ASK_S)

    def measure(
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
        """One record a subject, in order; zeros leave the choice to the daemon.

        Bundles are sent first; of a digest the blobs must be on the board. The
        subjects are measured in interleaved blocks, so that drift hits them alike.
        max_blocks: more are measured until the median's interval is within half_width.
        on_piece: gets the raw samples as they come in.
        """
        request = convert.request(
            measurement_pb2.MeasureRequest,
            subjects=[self._subject(subject, on_progress) for subject in subjects],
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
        with translated(self.address):
            events = self._measurement.Measure(request, timeout=MEASURE_S * max(1, len(subjects)))
        records = []
        with closing(stream(events, self.address)) as found:  # a listener may raise
            for event in found:
                if event.HasField("record"):
                    records.append(convert.measurement(event.record))
                elif event.HasField("piece"):
                    if on_piece is not None:
                        on_piece(convert.piece(event.piece))
                else:
                    step = event.progress
                    on_progress(Progress(step.stage, step.done, step.total))
        if len(records) != len(subjects):
            raise BoardError(f"{len(subjects)} subjects gave {len(records)} records")
        return records

    def deploy(
        self,
        bundle: Bundle,
        *,
        model: Optional[str] = None,
        variant: Optional[str] = None,
        follow: bool = False,
        allow_older: bool = False,
        on_progress: OnProgress = ignore,
    ) -> Deployment:
        """Sends, verifies, probes and serves a bundle; on failure the old model serves on.

        model: the name to serve under, the bundle's own when None. variant None: the first
        whose runtime the board has. The board watches a new model for a while; follow: until
        that ends, which raises RolledBack when the old model came back. allow_older: than
        what was committed under the name.
        """
        self.upload(bundle, on_progress)
        request = convert.request(
            deployment_messages.DeployRequest,
            model=model or bundle.card.name,
            bundle_digest=bundle.digest,
            variant=variant or "",
            follow=follow,
            allow_older=allow_older,
        )
        with translated(self.address):
            events = self._deployment.Deploy(request, timeout=DEPLOY_S, metadata=self._fence())
        deployed = None
        with closing(stream(events, self.address)) as found:
            for event in found:
                last = event.HasField("deployment") and not (follow and event.step == "watch")
                on_progress(deploy_progress(event.step, event.detail, last))
                if event.HasField("deployment"):
                    deployed = convert.deployment(event.deployment)
        if deployed is None:
            raise BoardError("the deployment ended without a result", hint="see `deployments()`")
        return deployed

    def deployments(self, history: bool = False) -> list[Deployment]:
        """What the board serves; with `history` also what it served or refused before."""
        request = deployment_messages.ListDeploymentsRequest(history=history)
        with translated(self.address):
            raw = self._deployment.ListDeployments(request, timeout=ASK_S)
        return [convert.deployment(entry) for entry in raw.deployments]

    def rollback(self, model: str, reason: str = "") -> Deployment:
        """Back to the bundle that served before under this name."""
        request = convert.request(deployment_messages.RollbackRequest, model=model, reason=reason)
        with translated(self.address):
            return convert.deployment(
                self._deployment.Rollback(request, timeout=DEPLOY_S, metadata=self._fence())
            )

    def load(self, model: str) -> None:
        """Serves a deployed model that was unloaded."""
        request = convert.request(message("RepositoryModelLoadRequest"), model_name=model)
        with translated(self.address):
            inference(self._channel, "RepositoryModelLoad")(
                request, timeout=DEPLOY_S, metadata=self._fence()
            )

    def unload(self, model: str) -> None:
        """Frees a model's memory; it stays deployed, over restarts too, and is not served."""
        request = convert.request(message("RepositoryModelUnloadRequest"), model_name=model)
        with translated(self.address):
            inference(self._channel, "RepositoryModelUnload")(
                request, timeout=DEPLOY_S, metadata=self._fence()
            )

    def remove(self, model: str) -> int:
        """Stops serving a model, after what it is answering; returns the bytes freed."""
        request = convert.request(deployment_messages.RemoveRequest, model=model)
        with translated(self.address):
            return self._deployment.Remove(
                request, timeout=DEPLOY_S, metadata=self._fence()
            ).freed_bytes

    def signers(self) -> Trusted:
        """Whose signatures on bundles the board accepts, and whether it asks for one."""
        with translated(self.address):
            raw = self._signers.ListSigners(signer_messages.ListSignersRequest(), timeout=ASK_S)
        return Trusted(tuple(map(convert.signer, raw.signers)), raw.required)

    def add_signer(self, name: str, pem: bytes) -> tuple[Signer, ...]:
        """pem: a public key, or the certificates of an authority. Raises NotPermitted."""
        request = convert.request(signer_messages.AddSignerRequest, name=name, pem=pem)
        with translated(self.address):
            raw = self._signers.AddSigner(request, timeout=ASK_S)
        return tuple(map(convert.signer, raw.signers))

    def remove_signer(self, name: str, *, revoke: bool = False) -> None:
        """revoke: and refuse it from now on, whoever vouches for it. Raises NotPermitted."""
        request = convert.request(signer_messages.RemoveSignerRequest, name=name, revoke=revoke)
        with translated(self.address):
            self._signers.RemoveSigner(request, timeout=ASK_S)

    def discard(self, digest: str) -> int:
        """Drops a bundle that was sent to be measured; returns the bytes freed."""
        request = convert.request(deployment_messages.DiscardRequest, bundle_digest=digest)
        with translated(self.address):
            return self._deployment.Discard(
                request, timeout=ASK_S, metadata=self._fence()
            ).freed_bytes

    def _subject(self, subject: Subject, on_progress: OnProgress) -> measurement_pb2.Subject:
        bundle, variant = subject
        if isinstance(bundle, Bundle):
            if variant:
                bundle.card.variant(variant)  # an unknown one fails before the transfer
            self.upload(bundle, on_progress)
            bundle = bundle.digest
        return convert.request(measurement_pb2.Subject, bundle_digest=bundle, variant=variant or "")


def deploy_progress(step: str, detail: str, last: bool) -> Progress:
    """One stage; a step we do not know counts as the last."""
    known = step in DEPLOY_STEPS and not last
    done = DEPLOY_STEPS.index(step) + 1 if known else len(DEPLOY_STEPS)
    return Progress("deploy", done, len(DEPLOY_STEPS), f"{step}: {detail}")
