"""From what a user calls a board to a connection with it.

An address wins, then the user's address book, then the catalogue: `local` and
every board in it are served by a daemon of our own on this machine.
"""

from __future__ import annotations

from typing import Optional

from edgetran_devices import UnknownBoard, resolve

from edgetran.addresses import AddressBook, check_address, is_address
from edgetran.asynchronous import AsyncBoard
from edgetran.board import Board
from edgetran.errors import UnknownTarget, UsageError
from edgetran.own_daemon import ALIVE_S, OwnDaemon, describe, ensure
from edgetran.places import home

LOCAL = "local"


def connect(
    target: Optional[str] = LOCAL,
    *,
    address: Optional[str] = None,
    threads: Optional[int] = None,
) -> Board:
    """A board that answers: "nano", "nano:gpu", "local", a name of yours or HOST:PORT.

    threads: intra-op threads of measurements, and of a daemon that this call starts.
    Raises UnknownTarget, BoardUnreachable.
    """
    found = locate(target, address=address, threads=threads)
    describe(found, ALIVE_S)  # fail now, not at the first use
    return Board(found, threads)


def connect_async(
    target: Optional[str] = LOCAL,
    *,
    address: Optional[str] = None,
    threads: Optional[int] = None,
) -> AsyncBoard:
    """The same for asyncio, inside its loop; finding (and starting) the board blocks here.

    Raises UnknownTarget, UsageError where no event loop runs.
    """
    return AsyncBoard(locate(target, address=address, threads=threads), threads)


def locate(
    target: Optional[str],
    *,
    address: Optional[str] = None,
    threads: Optional[int] = None,
) -> str:
    """The address behind a target; starts our own daemon where that is what it names."""
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    if address:
        return check_address(address)
    name = (target or LOCAL).strip()
    if is_address(name):
        return name
    book = AddressBook.default().entries()
    if name in book:
        return check_address(book[name])
    return ensure(own_daemon(name, threads, tuple(book)))


def own_daemon(name: str, threads: Optional[int], book: tuple[str, ...] = ()) -> OwnDaemon:
    """What our daemon for a board of the catalogue is to be. Raises UnknownTarget."""
    try:
        spec, unit = resolve(name)
    except UnknownBoard as exc:
        yours = f"; in your address book: {', '.join(book)}" if book else ""
        raise UnknownTarget(
            f"no board is called {name!r}",
            hint=f"{exc.hint}{yours}; or give an address as HOST:PORT",
        ) from None
    emulate = "" if spec.id == LOCAL else f"{spec.id}:{unit}"
    return OwnDaemon(home() / "boards" / f"{spec.id}-{unit}", emulate, threads)
