"""What a daemon was told at its start."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edgetran_devices import RESIDENT
from edgetran_protos.errors import UsageError

from edgetran_daemon.deployment.rules import DEFAULT_RULES, Rules
from edgetran_daemon.sensors.places import NOWHERE, Places
from edgetran_daemon.serving.worker_pythons import OWN, WorkerPythons

MAX_MESSAGE_BYTES = 64 << 20
DIGITS = re.compile("[0-9]{1,5}")
LAST_PORT = 65535
UNIX = "unix:"
UNIX_PATH_BYTES = 103  # the shortest limit of the systems we know, macOS's


@dataclass(frozen=True)
class Settings:
    host: str  # or "unix:PATH"
    port: int  # 0: any free one, or a Unix socket
    state: Path
    emulate: str = ""  # empty: this very machine
    calibration: str = RESIDENT  # which of the emulated board's models answers
    calibration_seed: Optional[int] = None  # of a published one's scatter; None: without
    threads: Optional[int] = None  # None: the cores that are free at the start
    ready_file: Optional[Path] = None
    idle_exit_s: Optional[float] = None
    max_message_bytes: int = MAX_MESSAGE_BYTES
    rules: Rules = DEFAULT_RULES
    store_limit_bytes: Optional[int] = None  # of all bundles together
    metrics: Optional[tuple[str, int]] = None  # host and port of Prometheus's endpoint
    sensors: Places = NOWHERE
    pythons: WorkerPythons = OWN  # that run the workers
    shared_memory: bool = True  # where other machines cannot reach the daemon
    signers: Optional[Path] = None  # whom to trust with signatures; None: a folder of the state
    require_signature: bool = False  # what nobody of them signed is refused
    keys: Optional[Path] = None  # of the board, for mTLS; None: neither encrypted nor guarded


def parse_listen(text: str, insecure: bool) -> tuple[str, int]:
    """(host, port) of "HOST:PORT", or ("unix:PATH", 0). Raises UsageError."""
    if text.startswith(UNIX):
        return UNIX + _socket_path(text[len(UNIX) :]), 0
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not DIGITS.fullmatch(port) or int(port) > LAST_PORT:
        raise UsageError(
            f"--listen {text!r} is neither HOST:PORT nor unix:PATH", hint="e.g. 127.0.0.1:50051"
        )
    if not is_loopback(host) and not insecure:
        raise UsageError(
            f"{host} can be reached from other machines, and connections are not encrypted",
            hint="pair a client first (`edgetran-daemon pair`), which encrypts; on a network you "
            "trust add --insecure; else use 127.0.0.1 and an SSH tunnel",
        )
    return host, int(port)


def parse_metrics(text: str, insecure: bool) -> Optional[tuple[str, int]]:
    """(host, port) of "HOST:PORT", None of "". Raises UsageError."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not DIGITS.fullmatch(port) or int(port) > LAST_PORT:
        raise UsageError(f"--metrics-address {text!r} is not HOST:PORT", hint="e.g. 127.0.0.1:9464")
    if not (is_loopback(host) or insecure):
        raise UsageError(
            f"metrics on {host} could be read from other machines",
            hint="use 127.0.0.1 and an SSH tunnel; on a network you trust add --insecure",
        )
    return host, int(port)


def _socket_path(text: str) -> str:
    """Absolute, since whoever reads it may work in another folder."""
    if not text or "\0" in text:
        raise UsageError("--listen unix: names no file", hint="e.g. unix:/run/edgetran.sock")
    path = str(Path(text).absolute())
    if len(os.fsencode(path)) > UNIX_PATH_BYTES:
        raise UsageError(
            f"the system knows no socket of so long a name: {path}",
            hint=f"at most {UNIX_PATH_BYTES} bytes, e.g. unix:/run/edgetran.sock",
        )
    return path


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.startswith(UNIX):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: who knows where it leads


def join(host: str, port: int) -> str:
    if host.startswith(UNIX):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
