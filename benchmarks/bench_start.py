"""How long a person waits: `edgetran --help`, and a daemon from start to serving.

Beside a bare Python interpreter and one that imports grpc, which both must pay for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from side_by_side import alternate, options, show

BIN = Path(sys.executable).parent
BLOCKS, RUNS = 6, 3


def main() -> None:
    given = options(__doc__).parse_args()
    ways: dict[str, Callable[[], object]] = {
        "python -c pass": lambda: quiet(sys.executable, "-c", "pass"),
        "python -c 'import grpc, click'": lambda: quiet(sys.executable, "-c", "import grpc, click"),
        "edgetran --help": lambda: quiet(str(BIN / "edgetran"), "--help"),
        "edgetran-daemon until it serves": daemon,
    }
    found = alternate(ways, blocks=BLOCKS, runs=RUNS, warmup=1)
    show("start", found, "python -c 'import grpc, click'", given.json)


def quiet(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def daemon() -> None:
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [BIN / "edgetran-daemon", "--listen", "127.0.0.1:0", "--state", folder],
            stdout=subprocess.PIPE,
            env={**os.environ, "EDGETRAN_HOME": folder},
        )
        assert process.stdout is not None
        line = process.stdout.readline()  # printed when it serves
        process.send_signal(signal.SIGTERM)
        process.wait()
        if b"serving" not in line:
            raise RuntimeError(f"the daemon said {line!r}")


if __name__ == "__main__":
    main()
