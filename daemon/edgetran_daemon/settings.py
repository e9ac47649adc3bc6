"""What a daemon was told at its start."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edgetran_protos.errors import UsageError

MAX_MESSAGE_BYTES = 64 << 20
DIGITS = re.compile("[0-9]{1,5}")
LAST_PORT = 65535


@dataclass(frozen=True)
class Settings:
    host: str
    port: int  # 0: any free one
    state: Path
    emulate: str = ""  # empty: this very machine
    threads: Optional[int] = None  # None: the cores that are free at the start
    ready_file: Optional[Path] = None
    idle_exit_s: Optional[float] = None
    max_message_bytes: int = MAX_MESSAGE_BYTES


def parse_listen(text: str, insecure: bool) -> tuple[str, int]:
    """(host, port) of "HOST:PORT". Raises UsageError."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not DIGITS.fullmatch(port) or int(port) > LAST_PORT:
        raise UsageError(f"--listen {text!r} is not HOST:PORT", hint="e.g. 127.0.0.1:50051")
    if not is_loopback(host) and not insecure:
        raise UsageError(
            f"{host} can be reached from other machines, and connections are not encrypted",
            hint="on a network you trust add --insecure; else use 127.0.0.1 and an SSH tunnel",
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: who knows where it leads


def join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
