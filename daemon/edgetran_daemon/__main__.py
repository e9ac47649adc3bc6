"""`python -m edgetran_daemon`, the same as the command `edgetran-daemon`."""

from __future__ import annotations

import sys

from edgetran_daemon.main import main

if __name__ == "__main__":
    sys.exit(main())
