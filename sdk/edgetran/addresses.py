"""The address book: names a user gave to boards on the network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetran.errors import UnknownTarget, UsageError
from edgetran.places import home, locked, write_json

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
LAST_PORT = 65535


def is_address(text: str) -> bool:
    """Whether `text` is HOST:PORT or a Unix socket; "nano:gpu" is neither."""
    found = ADDRESS.fullmatch(text)
    if found is None:
        return text.startswith("unix:") and len(text) > len("unix:")
    return 0 < int(found["port"]) <= LAST_PORT


def check_address(text: str) -> str:
    if not is_address(text):
        raise UsageError(
            f"{text!r} is not an address", hint="write HOST:PORT, e.g. 192.0.2.7:50051"
        )
    return text


@dataclass(frozen=True)
class AddressBook:
    """Names and addresses in one JSON file; a missing file is an empty book."""

    path: Path

    @staticmethod
    def default() -> AddressBook:
        return AddressBook(home() / "boards.json")

    def entries(self) -> Mapping[str, str]:
        """name -> address. Raises UsageError when the file is not an address book."""
        try:
            raw: Any = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            raise self._malformed(str(exc)) from exc
        boards = raw.get("boards") if isinstance(raw, dict) else None
        if not isinstance(boards, dict) or not all(isinstance(a, str) for a in boards.values()):
            raise self._malformed("it has no table of names and addresses")
        return dict(sorted(boards.items()))

    def add(self, name: str, address: str) -> None:
        """Adds or changes one entry."""
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be a board's name",
                hint="use letters, digits, dots, dashes and underscores",
            )
        check_address(address)
        with self._lock():
            self._write({**self.entries(), name: address})

    def remove(self, name: str) -> None:
        with self._lock():
            entries = dict(self.entries())
            if name not in entries:
                hint = f"it has: {', '.join(entries)}" if entries else "it is empty"
                raise UnknownTarget(f"no board {name!r} in the address book", hint=hint)
            del entries[name]
            self._write(entries)

    def _lock(self) -> Any:
        return locked(self.path.with_name(f".{self.path.name}.lock"))

    def _write(self, entries: Mapping[str, str]) -> None:
        write_json(self.path, {"schema": 1, "boards": dict(entries)})

    def _malformed(self, reason: str) -> UsageError:
        return UsageError(
            f"the address book {self.path} cannot be read: {reason}",
            hint="repair or remove the file, then add the boards again",
        )
