"""The installed unit under a real systemd, booted in a container: sandbox, watchdog, stop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,libgomp1,libstdc++6,ca-certificates"
TRIAL_UNIT = """\
[Unit]
After=edgetran-daemon.service
[Service]
ExecStart=/opt/edgetran/bin/python /trial/guest_trial.py /trial/bundle /trial/found.json
ExecStopPost=systemctl --no-block poweroff
"""
NEEDED = ("systemd-nspawn", "mmdebstrap", "chroot")
INSTALL = """
set -e
python3 -m venv /opt/edgetran
/opt/edgetran/bin/pip install -q --find-links /trial/wheels 'edgetran-daemon[onnxruntime]' edgetran
/opt/edgetran/bin/edgetran-daemon install || test -f /etc/systemd/system/edgetran-daemon.service
systemd-sysusers
systemctl enable edgetran-daemon trial
"""


def run(*command: str, limit_s: float = 600.0, skip: str = "") -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    if done.returncode and skip:
        pytest.skip(f"{skip}: {said.strip().splitlines()[-1]}")
    assert done.returncode == 0, said


@pytest.fixture(scope="module")
def system(root: Path, tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian with the daemon installed as docs/install.md says."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: systemd-container, mmdebstrap)")
    if os.geteuid() != 0:
        pytest.skip("needs root to boot a container")
    made = tmp_path_factory.mktemp("system") / "root"
    command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(made)]
    run(*command, *_mirror(), skip="no Debian to boot")
    trial = made / "trial"
    trial.mkdir()
    packages = [str(root / name) for name in ("protos", "devices", "sdk", "daemon")]
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    run(*pip, "-w", str(trial / "wheels"), *packages)
    shutil.copy(Path(__file__).with_name("guest_trial.py"), trial)
    tiny.make(trial / "bundle")
    unit = made / "etc/systemd/system/trial.service"
    unit.write_text(TRIAL_UNIT + "[Install]\nWantedBy=multi-user.target\n")
    shutil.copy("/etc/resolv.conf", made / "etc/resolv.conf")
    authorities = Path("/etc/ssl/certs/ca-certificates.crt")
    if authorities.exists():
        shutil.copy(authorities, made / "etc/ssl/certs/ca-certificates.crt")
    run("chroot", str(made), "bash", "-c", INSTALL, skip="the packages cannot be installed")
    return made


def _mirror() -> list[str]:
    """The Debian archive that this machine uses itself."""
    wanted = "$(REPO_URI) $(ORIGIN) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in told.splitlines() if "security" not in line]
    return [line[0] for line in lines if line[1:] == ["Debian", "main"]][:1]


def test_a_real_systemd_runs_watches_restarts_and_stops_it(system: Path, tiny: ModuleType) -> None:
    unit = system / "etc/systemd/system/edgetran-daemon.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=30", "WatchdogSec=5"))
    nspawn = ("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit")
    command = [*nspawn, "--console=pipe", "-D", str(system)]
    log = system / "trial" / "boot.log"
    with log.open("wb") as stream:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            timeout=300,
            check=False,
        )
    result = system / "trial" / "found.json"
    if not result.exists() and "systemd[1]" not in log.read_text(errors="replace"):
        pytest.skip(f"no container can be booted here: {log.read_text(errors='replace')[-300:]}")
    found = json.loads(result.read_text())
    label = tiny.LABELS[int(tiny.reference(tiny.encode([["turn on the light"]]))[0].argmax())]
    assert found["type"] == "notify"
    assert found["says"].startswith("serving ")
    assert found["Uid"] != "0"
    assert {int(found[name], 16) for name in ("CapEff", "CapBnd")} == {0}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert (found["deployed"], found["before"]) == ("serving", label)
    assert (found["restarted"], found["restarts"]) == (True, "1")
    assert found["after"] == label, "what it served, it serves again"
    assert found["stopped"] == ["success", "0"]
