"""The demo: smart-home intents on an emulated Jetson Nano, end to end.

Runs the same command a user would, in the folder demo/, and leaves the figures
of the final table in demo/result.json.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "demo"
ASKED = ("turn on the lights in the kitchen please", "set a timer for ten minutes")


def main() -> int:
    DEMO.mkdir(exist_ok=True)
    os.environ.setdefault("EDGETRAN_HOME", str(DEMO / "home"))
    command = Path(sys.executable).parent / "edgetran"
    run = DEMO / "run"
    for arguments in (
        [
            "deploy",
            "--target",
            "nano",
            "--data",
            "intents",
            "--seed",
            "minilm",
            "--max-latency",
            "40ms",
            "--max-energy",
            "300mJ",
            "--max-size",
            "20MB",
            "--run",
            str(run),
        ],
        ["infer", "nano", *ASKED],
    ):
        print("$ edgetran " + " ".join(a if " " not in a else repr(a) for a in arguments))
        status = subprocess.run([command, *arguments]).returncode
        if status:
            return status
    shutil.copyfile(run / "result.json", DEMO / "result.json")
    print(f"figures: {DEMO / 'result.json'}; report: {run / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
