"""The way to one daemon: a gRPC channel whose failures are errors of our tree.

The one place on this side where gRPC's errors are translated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Optional, TypeVar, Union

import grpc
from edgetran_protos.errors import from_trailers
from edgetran_protos.open_inference import SERVICE, methods

from edgetran import paired
from edgetran.errors import (
    BoardBusy,
    BoardError,
    BoardUnreachable,
    EdgeTranError,
    InputError,
    UsageError,
)

MOST_MESSAGE_BYTES = 2047 << 20  # that a daemon can be told to take; what it takes it says itself
OPTIONS: Sequence[tuple[str, Union[int, str]]] = (
    ("grpc.enable_http_proxy", 0),  # boards are near; a proxy cannot reach them
    ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MOST_MESSAGE_BYTES),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel does not wait for an old one's pause
)
CLOSED = ("closed channel", "channel closed", "channel is closed")  # gRPC's, of every kind of call
TOO_LARGE = "larger than max"  # gRPC's, of a message that either end does not take
HUNG_UP = "Socket closed"  # gRPC's words for a peer that was there

Event = TypeVar("Event")


def inference(channel: Any, name: str) -> Any:
    """A call of the Open Inference Protocol with one request and one response."""
    method = methods()[name]
    return channel.unary_unary(
        f"/{SERVICE}/{name}",
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )


def open_channel(address: str) -> grpc.Channel:
    """Encrypted, and known to each other, where this machine was paired with the board."""
    known = paired.find(address)
    if known is None:
        return grpc.insecure_channel(address, options=list(OPTIONS))
    return grpc.secure_channel(address, known.credentials(), options=[*OPTIONS, paired.OPTION])


def open_async_channel(address: str) -> grpc.aio.Channel:
    """For the running event loop alone. Raises UsageError where none runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "a board for asyncio is made where an event loop runs",
            hint="call edgetran.connect_async inside a coroutine, or edgetran.connect outside",
        ) from None
    known = paired.find(address)
    if known is None:
        return grpc.aio.insecure_channel(address, options=list(OPTIONS))
    options = [*OPTIONS, paired.OPTION]
    return grpc.aio.secure_channel(address, known.credentials(), options=options)


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Within, an RpcError leaves as the error of ours that it stands for."""
    try:
        yield
    except grpc.RpcError as exc:
        raise to_error(exc, address) from None  # gRPC's own text is in the message
    except (ValueError, grpc.aio.UsageError) as exc:
        if not any(words in str(exc).lower() for words in CLOSED):
            raise
        raise _closed(address) from None


def stream(events: Any, address: str) -> Generator[Any, None, None]:
    """The events of a server stream; leaving the loop early cancels the call."""
    try:
        with translated(address):
            yield from events
    finally:
        events.cancel()


def to_error(exc: grpc.RpcError, address: str) -> EdgeTranError:
    code, details = _status(exc)
    ours = from_trailers(details, _trailers(exc))
    if ours is not None:
        return ours
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return BoardUnreachable(f"{address} did not answer in time", hint=_reach_hint(address))
    if code is grpc.StatusCode.UNAVAILABLE:
        reason, hint = _reason(details), _reach_hint(address)
        if HUNG_UP in reason and paired.find(address) is None:  # it may want TLS
            hint += (
                "; if it serves paired clients only: `edgetran-daemon pair` there, "
                f"`edgetran device pair {address}` here"
            )
        return BoardUnreachable(f"cannot reach {address}: {reason}", hint=hint)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in details:
        return InputError(
            f"{address}: {details}",
            hint="send less at once, or let the daemon take more with --max-message-mb",
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return BoardBusy(f"{address}: {details}", hint="try again, or send less at once")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return BoardError(
            f"{address} answers, but not to this request: {details}",
            hint="is it an edgetran-daemon, of this edgetran's version?",
        )
    if code is grpc.StatusCode.CANCELLED:
        return BoardError(f"the request to {address} was cancelled", hint="connect again")
    name = code.name if code is not None else "UNKNOWN"
    return BoardError(f"{address}: {name}: {details}", hint="the daemon's log may say more")


def _status(exc: grpc.RpcError) -> tuple[Optional[grpc.StatusCode], str]:
    if isinstance(exc, (grpc.Call, grpc.aio.AioRpcError)):
        return exc.code(), exc.details() or "no details"
    return None, str(exc)


def _trailers(exc: grpc.RpcError) -> Optional[Sequence[tuple[str, Union[str, bytes]]]]:
    if isinstance(exc, (grpc.Call, grpc.aio.AioRpcError)):
        return [(key, value) for key, value in exc.trailing_metadata() or ()]
    return None


def _reason(details: str) -> str:
    """The end of gRPC's chain of causes where it could not connect; else all of it."""
    if details.startswith(("failed to connect", "errors resolving")):
        return details.rpartition(": ")[2].rstrip("]")
    return details


def _reach_hint(address: str) -> str:
    return (
        f"is the board on and is {address} right? on it, run `edgetran-daemon --listen {address}`"
    )


def _closed(address: str) -> BoardError:
    return BoardError(f"the connection to {address} is closed", hint="call edgetran.connect again")
