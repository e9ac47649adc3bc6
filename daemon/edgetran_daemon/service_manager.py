"""Tells systemd how the daemon is: ready, alive, stopping (sd_notify(3), sd_watchdog_enabled(3)).

The signs of life come from the event loop, so that a daemon whose loop hangs is restarted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Optional

log = logging.getLogger(__name__)

SOCKET, WATCHDOG_US, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
SIGNS_A_WATCHDOG = 3  # systemd advises at least two; one may be late


class ServiceManager:
    """Without an `address` nobody asked, and nothing is said."""

    def __init__(self, address: str = "", watchdog_s: Optional[float] = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_s = watchdog_s if address else None
        self._living: Optional[asyncio.Task[None]] = None

    @staticmethod
    def of(environ: MutableMapping[str, str]) -> ServiceManager:
        """Takes the variables out: they are not meant for the processes started from here."""
        address = environ.pop(SOCKET, "")
        watchdog_us = environ.pop(WATCHDOG_US, "")
        meant_for = environ.pop(WATCHDOG_PID, str(os.getpid()))
        if not watchdog_us.isdecimal() or meant_for != str(os.getpid()):
            return ServiceManager(address)
        return ServiceManager(address, int(watchdog_us) / 1e6)

    def ready(self, status: str) -> None:
        """From now on the signs of life go out."""
        self._say(f"READY=1\nSTATUS={status}")
        if self._watchdog_s:
            self._living = asyncio.create_task(self._live(self._watchdog_s / SIGNS_A_WATCHDOG))

    def stopping(self) -> None:
        self._say("STOPPING=1\nSTATUS=finishing calls under way")

    def close(self) -> None:
        if self._living is not None:
            self._living.cancel()

    async def _live(self, period_s: float) -> None:
        while True:
            self._say("WATCHDOG=1")
            await asyncio.sleep(period_s)

    def _say(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a manager that does not listen must not hang us too
                sender.connect(self._address)
                sender.sendall(message.encode())
        except OSError as exc:  # serving matters more than saying so
            log.warning("the service manager cannot be told %s: %s", message.split("\n")[0], exc)
