"""Runs inside a booted container, beside the daemon's own unit: what became of it, as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import edgetran
from edgetran_protos.bundle import Bundle

UNIT = "edgetran-daemon"
ADDRESS = "127.0.0.1:50051"
WORDS = "turn on the light"
RESTART_S = 120.0


def property_of(name: str) -> str:
    command = ["systemctl", "show", "--value", "-p", name, UNIT]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def predict() -> str:
    with edgetran.connect(ADDRESS) as board:
        return board.predict([WORDS])[0].label


def restarted(pid: int) -> bool:
    deadline = time.monotonic() + RESTART_S
    while time.monotonic() < deadline:
        if property_of("SubState") == "running" and property_of("MainPID") != str(pid):
            return True
        time.sleep(0.2)
    return False


def trial(bundle: Path) -> dict[str, object]:
    pid = int(property_of("MainPID"))
    found: dict[str, object] = {"type": property_of("Type"), "says": property_of("StatusText")}
    status = status_of(pid)
    for name in ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"):
        found[name] = status[name].split()[0]
    with edgetran.connect(ADDRESS) as board:
        found["deployed"] = board.deploy(Bundle.open(bundle), model="home").state
    found["before"] = predict()
    os.kill(pid, signal.SIGSTOP)  # a loop that hangs
    found["restarted"] = restarted(pid)
    found["restarts"] = property_of("NRestarts")
    found["after"] = predict()
    subprocess.run(["systemctl", "stop", UNIT], check=True)
    found["stopped"] = [property_of("Result"), property_of("ExecMainStatus")]
    return found


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(trial(Path(sys.argv[1]))))
