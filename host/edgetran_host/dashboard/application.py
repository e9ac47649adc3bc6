"""The dashboard's addresses: pages, JSON, and the stream of what changes. All of them only read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgetran_protos.errors import EdgeTranError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from edgetran_host.dashboard.bodies import OUTLOOK
from edgetran_host.dashboard.drawer import Drawer
from edgetran_host.dashboard.guarding import GUARDS
from edgetran_host.dashboard.pages import event, page, plain
from edgetran_host.dashboard.places import Places
from edgetran_host.dashboard.shelf import FLEET, RECORD, SEARCH, Entry, Shelf
from edgetran_host.dashboard.watching import BoardState, BoardWatch

log = logging.getLogger(__name__)

LOOK_S = 0.2  # between looks at what a stream has to tell
BEAT_S = 2.0  # a stream says something at least so often
FOLDERS_S = 2.0  # between looks at folders and the address book
AT_FULL_PACE = 20  # boards; of more, each is asked less often


class Dashboard:
    """What is known now, and who keeps it so."""

    def __init__(self, places: Places, shelf: Shelf, leaving: Callable[[], bool]) -> None:
        """leaving: whether the server is about to end; streams end then."""
        self._places = places
        self._shelf = shelf
        self._leaving = leaving
        self._drawer = Drawer()
        self._watches: dict[str, BoardWatch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def application(self) -> Starlette:
        routes = [
            Route("/", lambda _: HTMLResponse(page("Boards", "boards", "/"))),
            Route("/runs", lambda _: self._list("runs")),
            Route("/runs/{name:path}/body", self._body),
            Route("/runs/{name:path}/outlook", self._outlook),
            Route("/runs/{name:path}", self._report),
            Route("/records", lambda _: self._list("records")),
            Route("/records/{name:path}/body", self._body),
            Route("/records/{name:path}", self._report),
            Route("/fleets", lambda _: self._list("fleets")),
            Route("/fleets/{name:path}/body", self._body),
            Route("/fleets/{name:path}", self._report),
            Route("/api/boards", lambda _: JSONResponse(self._boards())),
            Route("/api/runs", lambda _: JSONResponse(self._folders()["runs"])),
            Route("/api/records", lambda _: JSONResponse(self._folders()["records"])),
            Route("/api/fleets", lambda _: JSONResponse(self._folders()["fleets"])),
            Route("/events", self._events),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ]
        return Starlette(routes=routes, middleware=GUARDS, lifespan=self._life)

    @contextlib.asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        await self._look()
        self._start(self._keep_looking())
        yield
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(FOLDERS_S)
            try:
                await self._look()
            except (EdgeTranError, OSError) as error:  # a folder or the address book is damaged
                log.warning("%s", error)

    async def _look(self) -> None:
        """Runs and records anew, and boards that came."""
        await asyncio.to_thread(self._shelf.refresh)
        names = await asyncio.to_thread(self._places.names)
        pace = max(1.0, len(names) / AT_FULL_PACE)
        for name in names:
            if name not in self._watches:
                self._watches[name] = BoardWatch(name, self._places.address, pace)
                self._start(self._watches[name].run())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    def _boards(self) -> Any:
        return plain([asdict(watch.state) for watch in self._watches.values()])

    def _folders(self) -> dict[str, list[dict[str, object]]]:
        return {
            "runs": [asdict(entry) for entry in self._shelf.runs],
            "records": [asdict(entry) for entry in self._shelf.records],
            "fleets": [asdict(entry) for entry in self._shelf.fleets],
        }

    async def _events(self, _: Request) -> Response:
        return StreamingResponse(self._told(), media_type="text/event-stream")

    async def _told(self) -> AsyncIterator[str]:
        """All at first; then the boards that changed, without their traces, and changed folders."""
        boards, folders = self._states(), ""
        last = time.monotonic()
        yield event("boards", self._boards())
        while not self._leaving():
            now, listed = self._states(), json.dumps(self._folders())
            changed = [one for name, one in now.items() if boards.get(name) is not one]
            if changed:
                yield event("changed", plain([asdict(replace(one, trace=())) for one in changed]))
            if listed != folders:
                yield event("folders", self._folders())
            if changed or listed != folders:
                last = time.monotonic()
            elif time.monotonic() - last >= BEAT_S:
                last = time.monotonic()
                yield event("beat", {})
            boards, folders = now, listed
            await asyncio.sleep(LOOK_S)

    def _states(self) -> dict[str, BoardState]:
        return {name: watch.state for name, watch in self._watches.items()}

    def _list(self, what: str) -> Response:
        return HTMLResponse(page(what.capitalize(), "folders", f"/{what}", {"what": what}))

    async def _report(self, request: Request) -> Response:
        name = request.path_params["name"]
        entry, _ = self._found(request)
        data = {"name": name, "kind": entry.kind, "what": _section(request)}
        return HTMLResponse(page(name, "report", f"/{_section(request)}", data))

    async def _body(self, request: Request) -> Response:
        entry, path = self._found(request)
        return HTMLResponse(await self._drawer.draw(entry.kind, path, entry.stamp))

    async def _outlook(self, request: Request) -> Response:
        entry, path = self._found(request)
        if entry.kind != SEARCH:
            raise HTTPException(404, "only a search foretells")
        return HTMLResponse(await self._drawer.draw(OUTLOOK, path, entry.stamp))

    def _found(self, request: Request) -> tuple[Entry, Path]:
        kind = {"records": RECORD, "fleets": FLEET}.get(_section(request), "")
        found = self._shelf.find(kind, request.path_params["name"])
        if found is None:
            raise HTTPException(404, "there is none of that name")
        return found


def _section(request: Request) -> str:
    return request.url.path.split("/")[1]
