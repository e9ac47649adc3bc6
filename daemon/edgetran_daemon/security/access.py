"""Lets a call through when the client's certificate has the role that its RPC needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

import grpc
from edgetran_protos.errors import NotPermitted, to_trailers

from edgetran_daemon.security.roles import NEEDED, permits
from edgetran_daemon.security.trust import Trust

if TYPE_CHECKING:
    from edgetran_daemon.services.interceptor import Continuation, Handler

Context = grpc.aio.ServicerContext[Any, Any]
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """The outermost: what it refuses reaches no other code of ours."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    async def intercept_service(
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Optional[Handler]:
        handler: Any = await continuation(details)
        if handler is None:
            return None
        kind = next(kind for kind in KINDS if getattr(handler, kind) is not None)
        make: Any = getattr(grpc, f"{kind}_rpc_method_handler")
        guarded: Handler = make(
            self._guarded(getattr(handler, kind), str(details.method)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return guarded

    def _guarded(self, call: Callable[..., Any], method: str) -> Callable[..., Any]:
        if inspect.isasyncgenfunction(call):

            async def events(request: Any, context: Context) -> Any:
                await self._check(method, context)
                async for event in call(request, context):
                    yield event

            return events

        async def answer(request: Any, context: Context) -> Any:
            await self._check(method, context)
            return await call(request, context)

        return answer

    async def _check(self, method: str, context: Context) -> None:
        found = [bytes(part) for part in context.auth_context().get("x509_pem_cert", ())]
        client = self._trust.client(found[0].decode()) if found else None
        if client is not None and permits(client.role, method):
            return
        if client is None:
            refused = NotPermitted(
                "this board does not know the client's certificate",
                hint="pair again: `edgetran-daemon pair` on the board",
            )
        else:
            needed = NEEDED.get(method, "no")
            refused = NotPermitted(
                f"{client.name} has the role {client.role!r}, {method} needs {needed!r}",
                hint=f"pair again with `edgetran-daemon pair --role {needed}` on the board",
            )
        await context.abort(refused.status, str(refused), to_trailers(refused))
