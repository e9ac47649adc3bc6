"""Engines by name."""

from __future__ import annotations

import importlib
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.engine.engine import Engine

ENGINES = {  # imported only when asked for
    "local": "edgetran_host.engine.local:LocalEngine",
    "ray": "edgetran_host.engine.ray:RayEngine",
}


def open_engine(name: str, **options: Any) -> Engine:
    """`local` takes slots and threads; `ray` an address as well. Raises UsageError."""
    if name not in ENGINES:
        raise UsageError(f"{name!r} is no engine", hint=f"choose {' or '.join(ENGINES)}")
    module, _, kind = ENGINES[name].partition(":")
    made: Engine = getattr(importlib.import_module(module), kind)(**options)
    return made
