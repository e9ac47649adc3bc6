"""What Prometheus reads of a daemon, over HTTP of its own.

Figures that this board does not have (no power sensor, no thermometer) are absent, never zero.
Imported only when `metrics_address` is set: it needs prometheus_client.
"""

from __future__ import annotations

import logging
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Optional

import grpc
from edgetran_devices import RESIDENT, predict
from edgetran_protos.errors import PortInUse
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgetran_daemon.board.board import Board
from edgetran_daemon.board.telemetry import temperature_c
from edgetran_daemon.board.throttling import Throttling
from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.sensors import PowerSensor
from edgetran_daemon.services.interceptor import is_ours
from edgetran_daemon.serving.served_model import ServedModel
from edgetran_daemon.settings.settings import join

log = logging.getLogger(__name__)

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
CODES = {code.value[0]: code.name for code in grpc.StatusCode}
NS = 1e-9


class RequestMetrics(grpc.aio.ServerInterceptor):
    """Counts and times every call of ours, around everything else that looks at it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "code")
        self._count = Counter("edgetran_requests", "Calls by outcome", labels, registry=registry)
        self._latency = Histogram(
            "edgetran_request_seconds",
            "From a call's arrival to its answer's end",
            ("method",),
            buckets=BUCKETS_S,
            registry=registry,
        )

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(details)
        if handler is None or not is_ours(details.method):
            return handler
        timed = {
            kind: self._timed(getattr(handler, kind), details.method.lstrip("/"))
            for kind in KINDS
            if getattr(handler, kind) is not None
        }
        return handler._replace(**timed)

    def _timed(self, call: Callable[..., Awaitable[Any]], method: str) -> Callable[..., Any]:
        async def timed(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            started = time.perf_counter()
            finished = False
            try:
                answer = await call(request, context)
                finished = True
                return answer
            finally:
                code = _code(context, finished)
                self._count.labels(method, code).inc()
                self._latency.labels(method).observe(time.perf_counter() - started)

        return timed


def _code(context: grpc.aio.ServicerContext[Any, Any], finished: bool) -> str:
    given: Any = context.code()
    name = given.name if isinstance(given, grpc.StatusCode) else CODES.get(given or 0, "UNKNOWN")
    return name if finished or name != "OK" else "CANCELLED"


class BoardMetrics(Collector):
    """Read when Prometheus asks; between two questions it costs nothing."""

    def __init__(
        self, board: Board, deployments: Deployments, sensor: Optional[PowerSensor]
    ) -> None:
        self._board = board
        self._deployments = deployments
        self._sensor = sensor
        self._throttling = Throttling()

    def collect(self) -> Iterator[Metric]:
        served = dict(self._deployments.served)
        yield from self._models(served)
        yield from _deployments(self._deployments)
        if self._board.emulated:
            yield from _modelled_energy(self._board, served)
            return
        yield from self._hardware()

    def _models(self, served: dict[str, ServedModel]) -> Iterator[Metric]:
        def counter(name: str, text: str, value: Callable[[ServedModel], float]) -> Metric:
            family = CounterMetricFamily(f"edgetran_model_{name}", text, labels=["model"])
            for model, one in served.items():
                family.add_metric([model], value(one))
            return family

        yield counter("answers", "Requests answered", lambda m: m.statistics.success.count)
        yield counter("errors", "Requests that failed", lambda m: m.statistics.fail.count)
        yield counter("inferences", "Rows computed", lambda m: m.statistics.inferences)
        yield counter("queue_seconds", "Waiting for a turn", lambda m: m.statistics.queue.ns * NS)
        yield counter(
            "infer_seconds", "In the runtime", lambda m: m.statistics.compute.infer.ns * NS
        )
        yield counter("restarts", "Of a worker that died", lambda m: m.restarts)
        ready = GaugeMetricFamily("edgetran_model_ready", "Whether it answers", labels=["model"])
        for model, one in served.items():
            ready.add_metric([model], float(one.ready))
        yield ready

    def _hardware(self) -> Iterator[Metric]:
        temperature = temperature_c()
        if temperature is not None:
            text = "The hottest sensor of the CPU"
            yield GaugeMetricFamily("edgetran_temperature_celsius", text, temperature)
        throttled = self._throttling.since_last()
        if throttled is not None:
            text = "Whether the machine slowed itself down since the last reading"
            yield GaugeMetricFamily("edgetran_throttled", text, float(throttled))
        if self._sensor is not None:
            yield from _energy(self._sensor)


def _energy(sensor: PowerSensor) -> Iterator[Metric]:
    """Nothing while the sensor cannot be read: a counter that stands still would say zero."""
    text = f"By {sensor.name}: {sensor.scope}, whatever ran there"
    try:
        yield CounterMetricFamily("edgetran_energy_joules", text, sensor.energy_j())
    except OSError as exc:
        log.warning("no energy", extra={"sensor": sensor.name, "reason": str(exc)})


def _deployments(deployments: Deployments) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "edgetran_deployments", "Records of the ledger by what became of them", labels=["state"]
    )
    tally = Tally(record.state for record in deployments.list(history=True))
    for state, count in sorted(tally.items()):
        family.add_metric([state], count)
    yield family


def _modelled_energy(board: Board, served: dict[str, ServedModel]) -> Iterator[Metric]:
    """From the board's model and what was computed; its name says that nobody measured it.

    Nothing of a board without a sensor, whose model has no power.
    """
    unit = board.model
    if unit is None or unit.active_w is None:
        return
    family = CounterMetricFamily(
        "edgetran_model_modelled_energy_joules",
        f"MODELLED, of an emulated board; calibration {RESIDENT}",
        labels=["model"],
    )
    for model, one in served.items():
        energy_j = sum(
            compute.infer.count * (predict(unit, one.variant.work, rows).energy_j or 0.0)
            for rows, compute in list(one.statistics.by_batch.items())
        )
        family.add_metric([model], energy_j)
    yield family


class Metrics:
    """http://HOST:PORT/metrics from `start` to `stop`, in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._registry = CollectorRegistry()
        self._stops: list[Callable[[], None]] = []
        self._sensor: Optional[PowerSensor] = None
        self.interceptor = RequestMetrics(self._registry)

    def watch(self, board: Board, deployments: Deployments, sensor: Optional[PowerSensor]) -> None:
        self._registry.register(BoardMetrics(board, deployments, sensor))
        self._sensor = sensor

    def start(self) -> None:
        """Raises PortInUse."""
        host, port = self._address
        try:
            server, thread = start_http_server(port, host, self._registry)
        except OSError as exc:
            raise PortInUse(
                f"cannot give metrics on {join(host, port)}: {exc.strerror or exc}",
                hint="choose another port with --metrics-address",
            ) from exc
        self._stops = [server.shutdown, server.server_close, thread.join]
        sensor = self._sensor
        if sensor is not None and (sensor.streams or not sensor.contract.counts_energy):
            sensor.start()  # hardware that counts does so whether or not anybody looks
            self._stops.append(sensor.stop)
        log.info("metrics", extra={"address": join(host, server.server_port)})

    def stop(self) -> None:
        for stop in self._stops:
            stop()
