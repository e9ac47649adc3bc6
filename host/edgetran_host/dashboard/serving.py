"""Serves the dashboard on this machine alone until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

import uvicorn
from edgetran_protos.errors import PortInUse

from edgetran_host.dashboard.application import Dashboard
from edgetran_host.dashboard.places import Places
from edgetran_host.dashboard.shelf import Shelf

HOST = "127.0.0.1"  # beyond it there would have to be a login
LEAVE_S = 2  # for answers under way


def serve(port: int, places: Places, shelf: Shelf, on_ready: Callable[[str], None]) -> None:
    """port 0: a free one. on_ready: gets the page's address. Raises PortInUse."""
    with _listening(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}/"
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
            asyncio.run(_serve(listener, places, shelf, lambda: on_ready(address)))


async def _serve(
    listener: socket.socket, places: Places, shelf: Shelf, on_ready: Callable[[], None]
) -> None:
    dashboard = Dashboard(places, shelf, lambda: server.should_exit)
    server = uvicorn.Server(
        uvicorn.Config(
            dashboard.application(),
            http="h11",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=LEAVE_S,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.02)
    if server.started:
        on_ready()
    await serving


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortInUse(
            f"port {port} is taken", hint="is a dashboard running already? else choose --port"
        ) from error
    return listener
