"""The one place on this side where errors become statuses, around every call."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import grpc
from edgetran_protos.errors import EdgeTranError, UsageError, to_trailers

from edgetran_daemon.activity import Activity
from edgetran_daemon.measuring.lease import Leases
from edgetran_daemon.services.fencing import fence

log = logging.getLogger(__name__)

MOST_CHARACTERS = 1000  # of a message
MOST_BYTES = 3000  # of it as it travels: in headers, which clients limit to 8 KiB with the hint

if TYPE_CHECKING:  # gRPC's own class takes no type arguments at run time
    Handler = grpc.RpcMethodHandler[Any, Any]
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Optional[Handler]]]


@dataclass(frozen=True)
class Malformed:
    """Stands for a message that cannot be read; gRPC itself would call that our failure."""

    reason: str


def _forgiving(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except Exception as exc:  # which one differs between protobuf's implementations
            return Malformed(str(exc))

    return read


def _well_formed(request: Any) -> Any:
    """The message as it is. Raises UsageError when it is malformed."""
    if isinstance(request, Malformed):
        raise UsageError(
            f"the message cannot be read: {request.reason}",
            hint="does the client speak this daemon's protocol?",
        )
    return request


async def _each_well_formed(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _well_formed(request)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    def __init__(self, activity: Activity, leases: Optional[Leases] = None) -> None:
        """leases: None where nothing can be leased."""
        self._activity = activity
        self._leases = leases
        self._known: dict[str, tuple[Handler, Handler]] = {}  # by method: gRPC's, and wrapped

    async def intercept_service(
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Optional[Handler]:
        handler = await continuation(details)
        if handler is None or not is_ours(details.method):
            return handler
        known = self._known.get(details.method)
        if known is None or known[0] is not handler:
            known = handler, self._wrapped(handler, details.method)
            self._known[details.method] = known
        return known[1]

    def _wrapped(self, handler: Any, method: str) -> Handler:
        codecs = {
            "request_deserializer": _forgiving(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._streaming(handler.stream_stream, method, _each_well_formed), **codecs
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(handler.unary_stream, method), **codecs
            )
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._single(handler.stream_unary, method, _each_well_formed), **codecs
            )
        return grpc.unary_unary_rpc_method_handler(
            self._single(handler.unary_unary, method), **codecs
        )

    def _single(
        self,
        call: Callable[..., Awaitable[Any]],
        method: str,
        well_formed: Callable[[Any], Any] = _well_formed,
    ) -> Callable[..., Any]:
        fenced = fence(method, self._leases)

        async def wrapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            with self._activity.call():
                try:
                    if fenced is not None:
                        fenced(context)
                    return await call(well_formed(request), context)
                except Exception as exc:
                    return await _abort(context, exc, method)

        return wrapped

    def _streaming(
        self,
        call: Callable[..., AsyncIterator[Any]],
        method: str,
        well_formed: Callable[[Any], Any] = _well_formed,
    ) -> Callable[..., Any]:
        fenced = fence(method, self._leases)

        # Written with context.write, not as a generator: when the client hangs
        # up, the inner generator must be closed at once, not when it is collected.
        async def wrapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            with self._activity.call():
                events: Any = None
                try:
                    if fenced is not None:
                        fenced(context)
                    events = call(well_formed(request), context)
                    async for event in events:
                        await context.write(event)
                except Exception as exc:
                    await _abort(context, exc, method)
                finally:
                    if events is not None:
                        await events.aclose()

        return wrapped


def is_ours(method: str) -> bool:
    """Unknown methods, health and reflection answer for themselves."""
    return method.startswith(("/edgetran.v1.", "/inference."))


async def _abort(context: grpc.aio.ServicerContext[Any, Any], exc: Exception, method: str) -> None:
    if isinstance(exc, grpc.aio.AbortError):
        raise exc
    if isinstance(exc, EdgeTranError):
        log.info("refused: %s", exc, extra={"method": method, "error": type(exc).__name__})
        await context.abort(exc.status, _in_a_header(str(exc)), to_trailers(exc))
    log.error("failed", exc_info=exc, extra={"method": method})
    await context.abort(
        grpc.StatusCode.INTERNAL, f"{type(exc).__name__} in the daemon; its log has the details"
    )


def _in_a_header(text: str) -> str:
    """As much of it as there is room for: what is not printable ASCII takes three bytes a byte."""
    left = MOST_BYTES
    for place, one in enumerate(text[:MOST_CHARACTERS]):
        left -= 1 if " " <= one <= "~" and one != "%" else 3 * len(one.encode(errors="replace"))
        if left < 0:
            return text[:place]
    return text[:MOST_CHARACTERS]
