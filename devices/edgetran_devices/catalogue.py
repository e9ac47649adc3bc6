"""The boards edgetran knows, read from one TOML file each, so that a board is data.

A name is a board's id, one of its aliases, or either with a unit: "nano:gpu". Boards that
their user calibrated lie in a folder of the user's own and win over those that come along.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional

from edgetran_devices.calibration import RESIDENT, Calibration, read_calibration

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOARDS = Path(__file__).parent / "boards"
OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class UnknownBoard(KeyError):
    """No board or unit of that name. Callers turn it into their own error."""

    def __init__(self, name: str, known: tuple[str, ...], closest: str) -> None:
        super().__init__(name)
        self.name = name
        self.known = known
        self.closest = closest  # empty: nothing is alike

    def __str__(self) -> str:
        return f"no board or unit {self.name!r} in the catalogue"

    @property
    def hint(self) -> str:
        guess = f"did you mean {self.closest!r}? " if self.closest else ""
        return f"{guess}known: {', '.join(self.known)}"


class UnreadableBoard(UnknownBoard):
    """The user's own entry of that name is no board file."""

    def __init__(self, name: str, path: Path, reason: str) -> None:
        super().__init__(name, (), "")
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} is no board file: {self.reason}"

    @property
    def hint(self) -> str:
        return "repair or remove it, then `edgetran device calibrate` again"


@dataclass(frozen=True)
class UnitModel:
    """What one compute unit of a board sustains; a model, unless `measured` says of what."""

    name: str  # "cpu", "gpu", "npu"
    runtimes: tuple[str, ...]  # first available wins
    fp32_flops: float  # float operations a second, sustained
    int8_ops: float  # 8-bit operations a second, sustained
    bandwidth_bytes_s: float  # memory traffic, sustained
    launch_s: float  # cost of one kernel
    overhead_s: float  # cost of one inference, whatever its size
    idle_w: Optional[float]  # None: nobody measured it
    active_w: Optional[float]  # mean while it computes
    peak_w: Optional[float]
    p95_ratio: float  # 95th percentile of latency over its median
    p99_ratio: float
    relative_error: float  # half-width of the model's interval, as a share
    source: str  # where the figures come from and how
    operation_j: float = 0.0  # an operation's energy beyond that of `active_w`
    activation_bytes_s: Optional[float] = None  # traffic of activations; None: as of weights
    adds_up: bool = False  # products and traffic take turns, as a graph's operators do
    energy_error: Optional[float] = None  # None: as latency's
    peak_error: Optional[float] = None
    measured: Mapping[str, Any] = field(default_factory=dict)  # date, records; empty: a data sheet
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)  # beside the resident one

    @property
    def calibration_names(self) -> tuple[str, ...]:
        return (RESIDENT, *self.calibrations)


@dataclass(frozen=True)
class BoardSpec:
    """One board of the catalogue. `local` has no units: it is measured, not modelled."""

    id: str
    title: str
    aliases: tuple[str, ...]
    soc: str
    cpu_count: int  # 0: only the machine itself knows
    memory_bytes: int  # 0: only the machine itself knows
    default_unit: str
    units: Mapping[str, UnitModel]

    @property
    def unit_names(self) -> tuple[str, ...]:
        return tuple(self.units) or (self.default_unit,)


def names() -> tuple[str, ...]:
    """The ids of all boards that come along, sorted."""
    return tuple(sorted(_catalogue()))


def own_folder() -> Path:
    """Where boards that were calibrated lie: $EDGETRAN_HOME/catalogue, else ~/.edgetran's."""
    return Path(os.environ.get("EDGETRAN_HOME") or "~/.edgetran").expanduser() / "catalogue"


def own_names() -> tuple[str, ...]:
    """The names of boards that their user calibrated, sorted."""
    return tuple(sorted(path.stem for path in own_folder().glob("[!.]*.toml")))


def load_board(name: str) -> BoardSpec:
    """The board with this id or alias. Raises UnknownBoard."""
    wanted = name.strip()
    shipped = _shipped(wanted.lower())
    found = _own(wanted) or (shipped and _own(shipped.id)) or shipped
    if found is None:
        raise _unknown(name, _all_names())
    return found


def _shipped(wanted: str) -> Optional[BoardSpec]:
    for spec in _catalogue().values():
        if wanted == spec.id or wanted in spec.aliases:
            return spec
    return None


def _own(name: str) -> Optional[BoardSpec]:
    path = own_folder() / f"{name}.toml"
    if not OWN_NAME.fullmatch(name) or not path.is_file():
        return None
    try:
        return read_board(path)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise UnreadableBoard(name, path, str(exc)) from exc


def resolve(target: str) -> tuple[BoardSpec, str]:
    """The board and the name of its unit behind "nano" or "nano:gpu". Raises UnknownBoard."""
    name, colon, unit = target.partition(":")
    spec = load_board(name)
    if not colon:
        return spec, spec.default_unit
    if unit.strip().lower() not in spec.unit_names:
        raise _unknown(target, tuple(f"{spec.id}:{known}" for known in spec.unit_names))
    return spec, unit.strip().lower()


def read_board(path: Path) -> BoardSpec:
    """The board that one TOML file describes; the file's name is its id."""
    with path.open("rb") as file:
        raw: dict[str, Any] = tomllib.load(file)
    units = {name: _unit(name, values) for name, values in raw.pop("units", {}).items()}
    aliases = tuple(raw.pop("aliases", ()))
    return BoardSpec(id=path.stem, aliases=aliases, units=units, **raw)


def _unit(name: str, values: Mapping[str, Any]) -> UnitModel:
    calibrations = {
        called: read_calibration(called, table)
        for called, table in values.get("calibrations", {}).items()
    }
    powers = dict.fromkeys(("idle_w", "active_w", "peak_w"))  # a board without a sensor has none
    runtimes = tuple(values["runtimes"])
    return UnitModel(
        name=name,
        **{**powers, **values, "runtimes": runtimes, "calibrations": calibrations},
    )


@lru_cache(maxsize=1)
def _catalogue() -> Mapping[str, BoardSpec]:
    return {path.stem: read_board(path) for path in sorted(BOARDS.glob("*.toml"))}


def _all_names() -> tuple[str, ...]:
    shipped = (name for spec in _catalogue().values() for name in (spec.id, *spec.aliases))
    return tuple(dict.fromkeys((*shipped, *own_names())))


def _unknown(name: str, known: tuple[str, ...]) -> UnknownBoard:
    alike = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return UnknownBoard(name, known, alike[0] if alike else "")
