"""Runs named checks of a client and says as JSON how each ended; needs nothing but Python."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence

Check = Callable[[], None]


def run(checks: Sequence[Check]) -> None:
    """{name: ""} for what held, else the traceback; one that fails does not stop the others.

    Names after the program's two arguments choose some of the checks.
    """
    chosen = sys.argv[3:]
    found = {}
    for check in checks:
        if chosen and check.__name__ not in chosen:
            continue
        try:
            check()
            found[check.__name__] = ""
        except Exception:
            found[check.__name__] = traceback.format_exc()
    json.dump(found, sys.stdout)
