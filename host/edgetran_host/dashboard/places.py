"""Which boards are looked at, and where each is now. Nothing is started for a look."""

from __future__ import annotations

from collections.abc import Sequence

from edgetran import AddressBook, BoardUnreachable
from edgetran.addresses import check_address, is_address
from edgetran.connect import own_daemon
from edgetran.own_daemon import OwnDaemon, running
from edgetran.places import home

BOARDS = "boards"  # below home: the state of daemons of our own, a folder each


class Places:
    """Boards that were named; without names the address book's and our own that run."""

    def __init__(self, named: Sequence[str] = ()) -> None:
        """Raises UnknownTarget for a name that nobody knows, UsageError for a damaged book."""
        self._named = tuple(dict.fromkeys(named))
        self._seen: dict[str, None] = {}  # daemons of our own that answered once
        AddressBook.default().entries()
        for name in self._named:
            _state_of(name)

    def names(self) -> list[str]:
        if self._named:
            return list(self._named)
        for folder in sorted((home() / BOARDS).glob("*/ready.json")):
            name = folder.parent.name
            if name not in self._seen and running(OwnDaemon(folder.parent)):
                self._seen[name] = None
        return list(dict.fromkeys([*AddressBook.default().entries(), *self._seen]))

    def address(self, name: str) -> str:
        """Raises BoardUnreachable where no daemon of ours serves it."""
        if name in self._seen:
            return _running(OwnDaemon(home() / BOARDS / name), name)
        found = _state_of(name)
        return found if isinstance(found, str) else _running(found, name)


def _state_of(name: str) -> str | OwnDaemon:
    """An address, or the daemon of our own that the name means. Raises UnknownTarget."""
    if is_address(name):
        return name
    book = AddressBook.default().entries()
    if name in book:
        return check_address(book[name])
    return own_daemon(name, None, tuple(book))


def _running(daemon: OwnDaemon, name: str) -> str:
    address = running(daemon)
    if not address:
        raise BoardUnreachable(
            f"no daemon on this machine serves {name}",
            hint=f"`edgetran device info {name}` starts one",
        )
    return address
