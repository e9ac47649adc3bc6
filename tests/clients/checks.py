"""Runs named checks of a client and says as JSON how each ended; needs nothing but Python."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence

Check = Callable[[], None]


def run(checks: Sequence[Check]) -> None:
    """{name: ""} for what held, else the traceback; one that fails does not stop the others."""
    found = {}
    for check in checks:
        try:
            check()
            found[check.__name__] = ""
        except Exception:
            found[check.__name__] = traceback.format_exc()
    json.dump(found, sys.stdout)
