"""`edgetran-daemon --check`: what this board has, and what is missing before it can serve."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgetran_devices import names
from edgetran_protos.errors import EdgeTranError, UsageError
from edgetran_protos.signing import entries

from edgetran_daemon.security.trusted_signers import FOLDER
from edgetran_daemon.sensors import PowerSensor, known_sensors
from edgetran_daemon.server import board_of, check_port, locked_state
from edgetran_daemon.serving.worker_pythons import WorkerPythons
from edgetran_daemon.settings import unit
from edgetran_daemon.settings.installing import UNIT, system_files
from edgetran_daemon.settings.settings import Settings, join

OK, WARNING, MISSING = "ok", "warning", "missing"
LEAST_FREE_BYTES = 32 << 20  # for a small model twice: the one that serves and the next
GOOD_FREE_BYTES = 512 << 20
EARLIEST_UNIX_S = 1767225600  # 2026-01-01: a clock before it was never set
SYNCHRONISED = "run/systemd/timesync/synchronized"
CPUS = "sys/devices/system/cpu"


@dataclass(frozen=True)
class Finding:
    part: str
    state: str  # OK, WARNING: it serves without; MISSING: it does not serve
    detail: str
    hint: str = ""


def findings(
    settings: Settings, root: Path = Path("/"), clock: Callable[[], float] = time.time
) -> Iterator[Finding]:
    """In the order in which a daemon would need them."""
    yield _python()
    yield from _runtimes(settings.pythons)
    if sys.platform == "linux":
        yield _processors(root)
    yield from _state(settings.state)
    yield _address(settings)
    yield _catalogue(settings)
    if settings.require_signature:
        yield _signers(settings)
    yield from _sensors(known_sensors(settings.sensors))
    yield from _buses(root)
    yield _clock(root, clock())
    if sys.platform == "linux":
        yield _unit(root)


def serves(found: list[Finding]) -> bool:
    return all(finding.state != MISSING for finding in found)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", OK, f"{version}, {sys.executable}")


def _runtimes(pythons: WorkerPythons) -> Iterator[Finding]:
    statuses = pythons.statuses()
    for status in statuses:
        part = f"runtime {status.name}"
        path = pythons.paths.get(status.name)
        where = f", {path}" if path else ""
        if status.unavailable:
            hint = f"{path} needs numpy and {status.name}" if path else ""
            yield Finding(part, WARNING, status.unavailable, hint)
        else:
            yield Finding(part, OK, f"{status.version}{where}")
    if all(status.unavailable for status in statuses):
        yield Finding(
            "runtimes",
            MISSING,
            "none can run a model",
            f"{sys.executable} -m pip install 'edgetran-daemon[onnxruntime]'",
        )


def _processors(root: Path) -> Finding:
    if (root / CPUS / "possible").is_file():
        return Finding("processors", OK, (root / CPUS / "possible").read_text().strip())
    return Finding(
        "processors", MISSING, f"/{CPUS} is hidden, and onnxruntime crashes without", "show /sys"
    )


def _state(state: Path) -> Iterator[Finding]:
    there = next(folder for folder in (state, *state.absolute().parents) if folder.exists())
    if not there.is_dir():
        yield Finding("state", MISSING, f"{there} is a file", "choose a folder with --state")
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding(
            "state", MISSING, f"{there} may not be written to", "choose a folder with --state"
        )
        return
    yield Finding("state", OK, f"{state}{'' if state.exists() else ', to be made'}")
    free_bytes = shutil.disk_usage(there).free
    detail = f"{free_bytes >> 20} MB free in {there}"
    state_of = OK if free_bytes >= GOOD_FREE_BYTES else WARNING
    state_of = MISSING if free_bytes < LEAST_FREE_BYTES else state_of
    yield Finding("disk", state_of, detail, "" if state_of == OK else "free some space there")


def _address(settings: Settings) -> Finding:
    address = join(settings.host, settings.port)
    try:
        check_port(settings.host, settings.port)
    except EdgeTranError as exc:
        if _running(settings.state):
            return Finding("address", OK, f"{address}: the daemon of {settings.state} runs")
        return Finding("address", MISSING, str(exc), exc.hint)
    return Finding("address", OK, f"{address} is free")


def _running(state: Path) -> bool:
    """Whether a daemon holds the folder."""
    if not (state / "daemon.lock").exists():
        return False
    try:
        with locked_state(state):
            return False
    except (EdgeTranError, OSError):
        return True


def _catalogue(settings: Settings) -> Finding:
    known = f"{len(names())} boards"
    if not settings.emulate:
        return Finding("catalogue", OK, known)
    try:
        board = board_of(settings)
    except EdgeTranError as exc:
        return Finding("catalogue", MISSING, str(exc), exc.hint)
    return Finding(
        "catalogue",
        WARNING,
        f"{known}; EMULATED: {board.title}, figures are modelled ({board.calibration})",
    )


def _signers(settings: Settings) -> Finding:
    """Of a board that takes only what somebody signed whom it trusts."""
    folder = settings.signers or settings.state / FOLDER
    try:
        found = [signer for signer, _ in entries(folder)]
        if not importlib.util.find_spec("cryptography"):
            raise UsageError("no cryptography", hint="pip install 'edgetran-daemon[tls]'")
    except EdgeTranError as exc:
        return Finding("signers", MISSING, f"{exc}: no bundle will be taken", exc.hint)
    names = [signer.name for signer in found if not signer.revoked]
    if not names:
        hint = f"put public keys or certificates into {folder}"
        return Finding("signers", WARNING, "nobody is trusted: no bundle will be taken", hint)
    return Finding("signers", OK, f"{', '.join(names)}; bundles that others signed are refused")


def _sensors(sensors: tuple[PowerSensor, ...]) -> Iterator[Finding]:
    """What was not set up is passed over, and what this machine lacks when it has another."""
    reasons = [(sensor, sensor.unavailable()) for sensor in sensors]
    none = all(reason for _, reason in reasons)
    for sensor, reason in reasons:
        if not reason or (sensor.set_up if sensor.needs_set_up else none):
            part = f"sensor {sensor.name}"
            yield Finding(part, WARNING if reason else OK, reason or sensor.scope)
    if none:
        hint = "docs/sensors.md lists what can be wired to a board, and how it is set up"
        yield Finding("energy", WARNING, "no power sensor can be read: none is measured", hint)


def _buses(root: Path) -> Iterator[Finding]:
    for bus in sorted((root / "dev").glob("i2c-*")):
        if os.access(bus, os.R_OK | os.W_OK):
            yield Finding("i2c", OK, f"/dev/{bus.name}")
        else:
            hint = "sudo usermod -aG i2c $USER, then log in again"
            yield Finding("i2c", WARNING, f"/dev/{bus.name} may not be used", hint)


def _clock(root: Path, now_unix_s: float) -> Finding:
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_unix_s))
    if now_unix_s < EARLIEST_UNIX_S:
        hint = "set it, or let systemd-timesyncd do it: certificates seem not valid yet"
        return Finding("clock", WARNING, f"{shown} cannot be", hint)
    if (root / SYNCHRONISED).parent.is_dir() and not (root / SYNCHRONISED).exists():
        return Finding("clock", WARNING, f"{shown}, not synchronised", "timedatectl set-ntp true")
    return Finding("clock", OK, shown)


def _unit(root: Path) -> Finding:
    file = root / UNIT.relative_to("/")
    hint = f"sudo {sys.executable} -m edgetran_daemon install"
    if not file.is_file():
        return Finding("unit", WARNING, f"{unit.NAME} is not installed", hint)
    if file.read_text(encoding="utf-8") != system_files(root)[UNIT]:
        return Finding("unit", WARNING, f"{file} is not what this version would write", hint)
    return Finding("unit", OK, str(file))
