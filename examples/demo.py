"""The demo: smart-home intents on an emulated Jetson Nano, end to end.

Runs the same command a user would, in the folder demo/, and leaves the figures
of the final table in demo/result.json.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = Path("demo")  # relative, as a user would type it
RUN = DEMO / "run"
COMMANDS = (
    [
        *("deploy", "--target", "nano", "--data", "intents", "--seed", "minilm"),
        *("--max-latency", "40ms", "--max-energy", "300mJ", "--max-size", "20MB"),
        *("--run", str(RUN)),
    ],
    ["infer", "nano", "turn on the lights in the kitchen please", "set a timer for ten minutes"],
)


def main() -> int:
    os.chdir(ROOT)
    DEMO.mkdir(exist_ok=True)
    os.environ.setdefault("EDGETRAN_HOME", str((DEMO / "home").resolve()))
    command = Path(sys.executable).parent / "edgetran"
    for arguments in COMMANDS:
        print(f"$ {shlex.join(['edgetran', *arguments])}", flush=True)
        status = subprocess.run([command, *arguments]).returncode
        if status:
            return status
    shutil.copyfile(RUN / "result.json", DEMO / "result.json")
    print(f"figures: {DEMO / 'result.json'}; report: {RUN / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
