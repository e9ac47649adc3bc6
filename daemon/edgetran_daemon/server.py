"""One daemon from start to stop: lock, restore, listen, drain."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import grpc
from edgetran_devices import RESIDENT
from edgetran_protos.errors import BoardBusy, PortInUse, UsageError
from edgetran_protos.generated.edgetran.v1.deployment_pb2_grpc import (
    add_DeploymentServiceServicer_to_server,
)
from edgetran_protos.generated.edgetran.v1.device_pb2_grpc import (
    add_DeviceServiceServicer_to_server,
)
from edgetran_protos.generated.edgetran.v1.measurement_pb2_grpc import (
    add_MeasurementServiceServicer_to_server,
)
from edgetran_protos.generated.edgetran.v1.signers_pb2_grpc import (
    add_SignerServiceServicer_to_server,
)
from edgetran_protos.generated.edgetran.v1.text_pb2_grpc import add_TextServiceServicer_to_server

from edgetran_daemon import heap
from edgetran_daemon.activity import Activity
from edgetran_daemon.board.board import Board, emulated, free_cores, this_machine
from edgetran_daemon.board.describe import Device
from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.deployment.housekeeping import keep_house
from edgetran_daemon.deployment.ledger import Ledger, write_atomically
from edgetran_daemon.faults import point
from edgetran_daemon.measuring.emulation import BoardClock
from edgetran_daemon.measuring.lease import Leases
from edgetran_daemon.measuring.measurement import Measurements
from edgetran_daemon.security.access import AccessInterceptor
from edgetran_daemon.security.callers import Callers
from edgetran_daemon.security.certificates import server_credentials
from edgetran_daemon.security.signatures import Signatures
from edgetran_daemon.security.trust import Trust
from edgetran_daemon.security.trusted_signers import FOLDER, TrustedSigners
from edgetran_daemon.sensors import known_sensors
from edgetran_daemon.service_manager import ServiceManager
from edgetran_daemon.services.deployment import DeploymentService
from edgetran_daemon.services.device import DeviceService
from edgetran_daemon.services.health import Health
from edgetran_daemon.services.interceptor import ErrorInterceptor
from edgetran_daemon.services.measurement import MeasurementService
from edgetran_daemon.services.open_inference import OpenInferenceService
from edgetran_daemon.services.signers import SignerService
from edgetran_daemon.services.text import TextService
from edgetran_daemon.serving.shared_memory import unavailable
from edgetran_daemon.settings.settings import UNIX, Settings, is_loopback, join
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.bundles import BundleStore
from edgetran_daemon.unix_socket import check_free, private

if TYPE_CHECKING:
    from edgetran_daemon.metrics import Metrics

log = logging.getLogger(__name__)

DRAIN_S = 10.0  # how long calls under way may go on after SIGTERM
DRAIN_LOOK_S = 0.02
HANG_UP_S = 0.5  # for those that only watch (health, reflection) to hear of the end
IDLE_LOOK_S = 0.5
NO_PLACE = (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError)
USERS = "users.lock"  # shared by processes of this machine that will come back, however late

OnReady = Callable[[Board, str], None]


async def serve(settings: Settings, on_ready: OnReady) -> None:
    """Until SIGTERM, SIGINT or idleness. Raises EdgeTranError when it cannot start."""
    heap.keep_little()
    board = board_of(settings)
    with locked_state(settings.state):
        check_port(settings.host, settings.port)
        daemon = Daemon(settings, board)
        heap.settle()  # before there are models, which come and go
        await daemon.run(on_ready)


def board_of(settings: Settings) -> Board:
    """Raises UnknownTarget, UsageError."""
    if settings.emulate:
        return emulated(settings.emulate, settings.calibration, settings.calibration_seed)
    if settings.calibration != RESIDENT or settings.calibration_seed is not None:
        raise UsageError(
            "a calibration is that of an emulated board",
            hint="add --emulate BOARD, or leave it out",
        )
    return this_machine()


class Daemon:
    """The parts, wired together; nothing is decided here."""

    def __init__(self, settings: Settings, board: Board) -> None:
        self._settings = settings
        self._board = board
        self._activity = Activity()
        self._stop = asyncio.Event()
        self._manager = ServiceManager.of(os.environ)
        threads = settings.threads or free_cores()
        blobs = BlobStore(settings.state, limit_bytes=settings.store_limit_bytes)
        pythons = settings.pythons
        folder = settings.signers or settings.state / FOLDER
        signatures = Signatures(blobs, folder, required=settings.require_signature)
        store = BundleStore(blobs, pythons, signatures)
        clock = BoardClock(board)
        sensors = known_sensors(settings.sensors)
        device = Device(
            board, sensors, threads, lambda: clock.busy_s, settings.sensors.use, pythons
        )
        pythons.statuses()  # asks other Pythons before anybody waits for an answer
        self._deployments = Deployments(
            store,
            Ledger(settings.state / "deployments.json"),
            threads,
            rules=replace(settings.rules, place=board.place),
            unit=board.model,
        )
        leases = self._leases = Leases(settings.state / "lease-token")
        measurements = Measurements(
            store,
            self._deployments,
            board,
            device.sensor,
            leases,
            settings.rules.serving.memory_bytes,
        )
        self._metrics = _metrics(settings.metrics)
        if self._metrics is not None:
            self._metrics.watch(board, self._deployments, device.sensor)
        self._server = self._grpc_server(leases)
        add_DeploymentServiceServicer_to_server(
            DeploymentService(self._deployments, blobs, signatures), self._server
        )
        add_DeviceServiceServicer_to_server(DeviceService(device, self._stop), self._server)
        add_MeasurementServiceServicer_to_server(
            MeasurementService(measurements, leases, device, threads), self._server
        )
        add_TextServiceServicer_to_server(TextService(self._deployments, clock), self._server)
        sharing = _sharing_callers(settings)
        self._callers = sharing or Callers(settings.host)
        signers = TrustedSigners(folder, None if settings.keys else self._callers)
        add_SignerServiceServicer_to_server(
            SignerService(signers, settings.require_signature), self._server
        )
        inference = OpenInferenceService(
            self._deployments, clock, self._stop, settings.max_message_bytes, sharing
        )
        self._server.add_generic_rpc_handlers((inference.handler(),))
        self._health = Health(self._server, self._deployments.ready)

    def _grpc_server(self, leases: Leases) -> grpc.aio.Server:
        most = self._settings.max_message_bytes
        return grpc.aio.server(
            interceptors=[*self._outermost(), ErrorInterceptor(self._activity, leases)],
            options=[
                ("grpc.so_reuseport", 0),  # a second daemon on the port must fail
                ("grpc.keepalive_time_ms", 20_000),  # a client that vanished holds no upload
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.max_receive_message_length", most),
                ("grpc.max_send_message_length", most),
            ],
        )

    def _outermost(self) -> list[grpc.aio.ServerInterceptor]:
        keys = self._settings.keys
        counting = [self._metrics.interceptor] if self._metrics is not None else []
        return [*counting, *([AccessInterceptor(Trust(keys))] if keys is not None else [])]

    def _add_port(self, address: str) -> int:
        keys = self._settings.keys
        if keys is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, server_credentials(keys))

    async def run(self, on_ready: OnReady) -> None:
        try:
            self._obey_signals()
            address = await self._started()
            if address is None:
                return
            self._write_ready_file(address)
            log.info("serving", extra={"address": address, "board": self._board.id})
            on_ready(self._board, address)
            self._manager.ready(f"serving {self._board.title} on {address}")
            housekeeping = asyncio.ensure_future(keep_house(self._deployments.tidy))
            await self._until_stopped()
            housekeeping.cancel()
            log.info("draining")
        finally:
            self._remove_ready_file()  # first: whoever looks for a daemon must not find this one
            self._manager.stopping()
            await self.stop()
            self._manager.close()
            log.info("stopped")

    async def _started(self) -> Optional[str]:
        """The address; None: it was told to stop before it served."""
        starting = asyncio.ensure_future(self.start())
        stopped = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if starting.done():
            return starting.result()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return None

    async def start(self) -> str:
        """Serves what served before, and listens; the address."""
        if self._metrics is not None:
            self._metrics.start()
        await self._deployments.restore()
        address = self._listen()
        await self._server.start()
        await self._health.ready()
        return address

    async def stop(self) -> None:
        """After the calls that are under way."""
        self._stop.set()
        self._leases.close()
        await self._health.stopping()
        await self._deployments.stop_watching()
        await self._drain()
        await self._server.stop(HANG_UP_S)
        await self._deployments.close()
        if self._metrics is not None:
            self._metrics.stop()

    def _listen(self) -> str:
        host = self._settings.host
        try:
            with private():
                port = self._add_port(join(host, self._settings.port))
        except RuntimeError as exc:
            raise _port_in_use(host, self._settings.port) from exc
        self._callers.port = port
        return join(host, port)

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    async def _until_stopped(self) -> None:
        limit_s = self._settings.idle_exit_s
        while not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), IDLE_LOOK_S if limit_s else None)
            except asyncio.TimeoutError:
                idle = limit_s and self._activity.idle_s > limit_s
                if idle and not _in_use(self._settings.state / USERS):
                    self._stop.set()

    async def _drain(self) -> None:
        """Until no call is under way; one that comes meanwhile is answered like any other."""
        deadline = time.monotonic() + DRAIN_S
        while self._activity.busy and time.monotonic() < deadline:
            await asyncio.sleep(DRAIN_LOOK_S)

    def _write_ready_file(self, address: str) -> None:
        """Raises UsageError."""
        if self._settings.ready_file is None:
            return
        ready = {
            "address": address,
            "pid": os.getpid(),
            "board": self._board.id,
            "emulated": self._board.emulated,
        }
        try:
            self._settings.ready_file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._settings.ready_file, json.dumps(ready).encode(), "ready")
        except NO_PLACE as exc:
            raise UsageError(
                f"{self._settings.ready_file} cannot be written: {exc.strerror or exc}",
                hint="choose another place with --ready-file",
            ) from exc

    def _remove_ready_file(self) -> None:
        if self._settings.ready_file is not None:
            with suppress(FileNotFoundError, NotADirectoryError):
                self._settings.ready_file.unlink()


@contextmanager
def locked_state(state: Path) -> Iterator[None]:
    """One daemon a state folder. The system lifts the lock when the process ends, however."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "daemon.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.seek(0)
            raise BoardBusy(
                f"a daemon (pid {lock.read().strip()}) works in {state} already",
                hint="stop it first, or choose another folder with --state",
            ) from exc
        lock.truncate(0)
        point("lock-emptied")
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _in_use(lock: Path) -> bool:
    try:
        with lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _metrics(address: Optional[tuple[str, int]]) -> Optional[Metrics]:
    """Its library is loaded only when it is wanted: a small board spares the memory."""
    if address is None:
        return None
    try:
        from edgetran_daemon.metrics import Metrics
    except ModuleNotFoundError as exc:
        raise UsageError(
            f"metrics need {exc.name}, which is not installed",
            hint=f"{sys.executable} -m pip install 'edgetran-daemon[metrics]'",
        ) from exc
    return Metrics(*address)


def _sharing_callers(settings: Settings) -> Optional[Callers]:
    """Those who may use shared memory; None: nobody."""
    offered = settings.shared_memory and is_loopback(settings.host)
    return None if unavailable() or not offered else Callers(settings.host)


def check_port(host: str, port: int) -> None:
    """Raises PortInUse; gRPC itself does not say why it cannot listen."""
    if host.startswith(UNIX):
        check_free(Path(host[len(UNIX) :]))
        return
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as exc:
            raise PortInUse(
                f"cannot listen on {join(host, port)}: {exc.strerror or exc}",
                hint="choose another port with --listen 127.0.0.1:0, or stop what listens there",
            ) from exc


def _port_in_use(host: str, port: int) -> PortInUse:
    return PortInUse(f"cannot listen on {join(host, port)}", hint="choose another port")
