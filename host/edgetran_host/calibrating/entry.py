"""The user's own catalogue entry of a board: a TOML file like those that come along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from edgetran.places import locked
from edgetran.results import BoardInfo
from edgetran_devices import UnitModel, own_folder
from edgetran_devices.catalogue import OWN_NAME, read_board
from edgetran_protos.errors import UsageError

from edgetran_host.job.run_directory import write_atomically

HEADER = "# Measured by `edgetran device calibrate`; a new calibration replaces this file.\n"
APART = ("name", "measured", "calibrations")  # not plain keys of a unit


def entry_path(name: str) -> Path:
    """Raises UsageError for what cannot be a file's name."""
    if not OWN_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a catalogue entry",
            hint="give the board a name: edgetran device add NAME HOST:PORT",
        )
    return own_folder() / f"{name}.toml"


def write_entry(name: str, board: BoardInfo, unit: UnitModel) -> Path:
    """Replaces the entry at once; other units that were calibrated stay."""
    path = entry_path(name)
    with locked(path.with_name(f".{path.name}.lock")):
        others = read_board(path).units if path.exists() else {}
        units = {**others, unit.name: unit}
        write_atomically(path, _text(name, board, unit.name, units).encode())
    return path


def _text(name: str, board: BoardInfo, default: str, units: Mapping[str, UnitModel]) -> str:
    top: dict[str, object] = {
        "title": board.title if name == board.board else f"{name}, as calibrated",
        "soc": board.soc,
        "cpu_count": board.cpu_count,
        "memory_bytes": board.memory_bytes,
        "default_unit": default,
    }
    parts = [HEADER, *_lines(top)]
    for called, unit in units.items():
        plain = {
            field.name: getattr(unit, field.name)
            for field in fields(unit)
            if field.name not in APART and getattr(unit, field.name) is not None
        }
        parts += ["", f"[units.{called}]", *_lines(plain)]
        parts += ["", f"[units.{called}.measured]", *_lines(unit.measured)]
    return "\n".join(parts) + "\n"


def _lines(values: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(one) for one in value)}]"
    # A JSON string is one of TOML's too, but for one character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
