"""What every answer is under: it is only read, from this machine, by pages of our own.

A page of another site may make a browser ask us: under a name of its own (DNS rebinding), so the
host that the browser asked for has to be this machine; or under ours, without hearing the answer,
so what a browser says it asks for another site is refused, but for following a link. No script,
style or picture comes from elsewhere.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost", "[::1]")
READING = ("GET", "HEAD")
FOREIGN = ("cross-site", "same-site")  # another port of this machine is the same site
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

        await self._chosen(scope)(scope, receive, guarded)

    def _chosen(self, scope: Scope) -> ASGIApp:
        if scope["method"] not in READING:
            return PlainTextResponse("the dashboard only reads\n", status_code=405)
        told = Headers(scope=scope)
        if told.get("sec-fetch-site") in FOREIGN and told.get("sec-fetch-mode") != "navigate":
            return PlainTextResponse("not for other sites\n", status_code=403)
        return self._app


GUARDS = (
    Middleware(ReadOnly),
    Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
)
