"""Those tensors of one request that lie in the client's shared memory: Triton's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from edgetran_protos.errors import InputError, NotOffered

from edgetran_daemon.security.callers import Caller
from edgetran_daemon.serving.shared_memory import Place, Regions

REGION = "shared_memory_region"
SIZE = "shared_memory_byte_size"
OFFSET = "shared_memory_offset"


def in_shared_memory(tensor: Any) -> bool:
    """An input, or an output that is asked for."""
    found = tensor.parameters
    return bool(found) and (REGION in found or SIZE in found or OFFSET in found)


def no_caller() -> Caller:
    raise NotOffered(
        "shared memory is not offered",
        hint="send the contents with the request; it is for clients on the board itself"
        " (a daemon that listens on loopback or a Unix socket, without --shared-memory off)",
    )


class SharedTensors:
    """`caller`: called only when a tensor lies there; raises NotOffered.

    most_bytes: of all inputs together, as of a message.
    """

    def __init__(
        self, regions: Regions, most_bytes: int, caller: Callable[[], Caller] = no_caller
    ) -> None:
        self._regions = regions
        self._left_bytes = self._most_bytes = most_bytes
        self._find = caller
        self._caller: Optional[Caller] = None

    def read(self, tensor: Any) -> bytes:
        """An input's contents. Raises InputError, NotOffered, UnknownRegion, NotPermitted."""
        if tensor.HasField("contents"):
            raise InputError(
                f"input {tensor.name!r} has contents beside those in shared memory",
                hint="send one of them",
            )
        place = _place(tensor)
        caller = self._called()
        if place.size_bytes > self._left_bytes:
            raise InputError(
                f"the inputs in shared memory have more than {self._most_bytes} bytes",
                hint="send fewer rows at once, or allow more with --max-message-mb",
            )
        self._left_bytes -= place.size_bytes
        return self._regions.read(caller, place)

    def expect(self, outputs: Any) -> None:
        """Refuses places that cannot be written to before anything is computed."""
        for output in outputs:
            if in_shared_memory(output):
                place = _place(output)
                self._regions.check(self._called(), place)

    def write(self, asked: Any, data: bytes, answered: Any) -> None:
        """An output's contents where they were asked for, which the answer then names."""
        place = _place(asked)
        if len(data) > place.size_bytes:
            raise InputError(
                f"output {asked.name!r} has {len(data)} bytes,"
                f" its place in shared memory {place.size_bytes}"
            )
        self._regions.write(self._called(), place, data)
        answered.parameters[REGION].string_param = place.region
        answered.parameters[SIZE].int64_param = len(data)
        if place.offset:
            answered.parameters[OFFSET].int64_param = place.offset

    def _called(self) -> Caller:
        if self._caller is None:
            self._caller = self._find()
        return self._caller


def _place(tensor: Any) -> Place:
    """Raises InputError."""
    found = tensor.parameters
    region = found[REGION].string_param if REGION in found else ""
    size, offset = (_whole(found[key]) if key in found else 0 for key in (SIZE, OFFSET))
    if not region or size <= 0 or offset < 0:
        raise InputError(
            f"{tensor.name!r} lies in shared memory, but where?",
            hint=f"{REGION} is a name, {SIZE} a number above 0, {OFFSET} one from 0 on",
        )
    return Place(region, offset, size)


def _whole(parameter: Any) -> int:
    return int(parameter.int64_param or parameter.uint64_param)
