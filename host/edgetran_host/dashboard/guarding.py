"""What every answer is under: it is only read, from this machine, by pages of our own.

A page of another site may make a browser ask us (DNS rebinding), so the host that the browser
asked for has to be this machine. No script, style or picture comes from elsewhere.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost", "[::1]")
READING = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class ReadOnly:
    """Refuses every method that could change something, and puts HEADERS on all answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["method"] in READING:
            await self._app(scope, receive, guarded)
        else:
            refused = PlainTextResponse("the dashboard only reads\n", status_code=405)
            await refused(scope, receive, guarded)


GUARDS = (
    Middleware(ReadOnly),
    Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
)
