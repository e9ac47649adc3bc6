"""`python -m edgetran_daemon.worker.status RUNTIME`: whether it works in this Python, as JSON."""

import json
import sys
from typing import Dict

from edgetran_daemon.runtimes import runtime_class


def status(name: str) -> Dict[str, str]:
    kind = runtime_class(name)
    try:
        reason = kind.unavailable() or kind.no_device()
        version = "" if reason else kind.version()
    except Exception as exc:  # whatever a maker's library does, the daemon must hear of it
        return {"version": "", "unavailable": f"{type(exc).__name__}: {exc}"}
    python = ".".join(map(str, sys.version_info[:3]))
    return {"version": version, "unavailable": reason, "python": python}


if __name__ == "__main__":
    print(json.dumps(status(sys.argv[1])))
