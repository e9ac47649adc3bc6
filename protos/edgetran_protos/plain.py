"""Values from JSON as frozen dataclasses, with every type checked.

JSON from elsewhere may hold anything anywhere; what passes here has the types that its
dataclass says, at every depth, and no NaN.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Type, TypeVar, Union, get_args, get_origin, get_type_hints

Kind = TypeVar("Kind")
MOST_BITS = 63  # whole numbers end up in arrays of int64


def strict_json(data: bytes) -> Any:
    """What is JSON and no more: Python also reads NaN, Infinity and 1e999. Raises ValueError."""
    return json.loads(data, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number in JSON")
    return value


def build(kind: Type[Kind], raw: Any, where: str, *, pass_over: bool = False) -> Kind:
    """raw: what json.loads gave. pass_over: names that are unknown, at every depth.

    Raises ValueError naming the place.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"{where} is no object")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(raw) - set(fields))
    if unknown and not pass_over:
        raise ValueError(f"{where} has {unknown[0]!r}, which is unknown")
    for name, field in fields.items():
        defaults = (field.default, field.default_factory)
        if name not in raw and defaults == (dataclasses.MISSING, dataclasses.MISSING):
            raise ValueError(f"{where} lacks {name!r}")
    found = {
        name: _value(hints[name], raw[name], f"{where}.{name}", pass_over)
        for name in raw
        if name in fields
    }
    return kind(**found)


def _value(hint: Any, raw: Any, where: str, pass_over: bool) -> Any:
    if hint is Any:
        return raw
    if dataclasses.is_dataclass(hint):
        return build(hint, raw, where, pass_over=pass_over)  # type: ignore[arg-type]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Union:  # Optional
        return None if raw is None else _value(inner[0], raw, where, pass_over)
    if origin is list and isinstance(raw, list):
        return [_value(inner[0], part, where, pass_over) for part in raw]
    if origin is not None and issubclass(origin, Mapping) and isinstance(raw, dict):
        return {
            name: _value(inner[1], part, f"{where}.{name}", pass_over) for name, part in raw.items()
        }
    if not _fits(hint, raw):
        named = getattr(hint, "__name__", str(hint))
        raise ValueError(f"{where} is {str(raw)[:40]!r}, not {named}")
    return raw


def _fits(hint: Any, raw: Any) -> bool:
    if isinstance(raw, bool) or hint is bool:
        return hint is bool and isinstance(raw, bool)
    if isinstance(raw, int):
        return hint in (int, float) and raw.bit_length() <= MOST_BITS
    if isinstance(raw, float):
        return hint is float and math.isfinite(raw)
    return hint is str and isinstance(raw, str)
