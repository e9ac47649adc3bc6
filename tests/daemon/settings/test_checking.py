"""`edgetran-daemon --check`: what it finds on boards that lack one thing each."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgetran_daemon.main import main
from edgetran_daemon.sensors import Places, Wiring
from edgetran_daemon.settings.checking import MISSING, OK, WARNING, Finding, findings, serves
from edgetran_daemon.settings.settings import Settings
from edgetran_host.signing import make_key

NOW_UNIX_S = 1.9e9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A board's root folder with all that is looked at."""
    made = tmp_path / "root"
    for folder in ("dev", "etc", "run/systemd/timesync", "sys/devices/system/cpu"):
        (made / folder).mkdir(parents=True)
    (made / "sys/devices/system/cpu/possible").write_text("0-3\n")
    (made / "run/systemd/timesync/synchronized").write_text("")
    (made / "dev/i2c-1").write_text("")
    assert main(["install", "--prefix", str(made)]) == 0
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(host="127.0.0.1", port=0, state=tmp_path / "state")


def checked(settings: Settings, root: Path, now_unix_s: float = NOW_UNIX_S) -> dict[str, Finding]:
    found = list(findings(settings, root, lambda: now_unix_s))
    assert len({finding.part for finding in found}) == len(found)
    assert serves(found) == all(finding.state != MISSING for finding in found)
    return {finding.part: finding for finding in found}


def test_a_board_with_everything_can_serve(settings: Settings, root: Path) -> None:
    found = checked(settings, root)
    for part in ("python", "runtime onnxruntime", "processors", "state", "disk", "address"):
        assert found[part].state == OK, found[part]
    for part in ("catalogue", "i2c", "clock", "unit"):
        assert found[part].state == OK, found[part]
    assert not settings.state.exists(), "a check changes nothing"


def spoil_processors(root: Path) -> None:
    (root / "sys/devices/system/cpu/possible").unlink()


def spoil_clock(root: Path) -> None:
    (root / "run/systemd/timesync/synchronized").unlink()


def spoil_unit(root: Path) -> None:
    unit = root / "etc/systemd/system/edgetran-daemon.service"
    unit.write_text(unit.read_text().replace("WatchdogSec", "#WatchdogSec"))


def remove_unit(root: Path) -> None:
    (root / "etc/systemd/system/edgetran-daemon.service").unlink()


@pytest.mark.parametrize(
    ("spoil", "part", "state", "said"),
    [
        (spoil_processors, "processors", MISSING, "onnxruntime crashes"),
        (spoil_clock, "clock", WARNING, "not synchronised"),
        (spoil_unit, "unit", WARNING, "not what this version would write"),
        (remove_unit, "unit", WARNING, "not installed"),
    ],
)
def test_what_a_board_lacks_is_named_with_what_to_do(
    settings: Settings,
    root: Path,
    spoil: Callable[[Path], None],
    part: str,
    state: str,
    said: str,
) -> None:
    before = checked(settings, root)
    spoil(root)
    after = checked(settings, root)
    assert (after[part].state, said in after[part].detail) == (state, True)
    assert after[part].hint
    for other in set(before) - {part}:  # the room on the disk changes by itself
        assert after[other].state == before[other].state


def test_a_clock_that_was_never_set_is_seen(settings: Settings, root: Path) -> None:
    found = checked(settings, root, now_unix_s=86400.0)["clock"]
    assert (found.state, found.detail) == (WARNING, "1970-01-02 00:00:00 UTC cannot be")


def test_a_state_folder_that_cannot_be_is_seen(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for state in (file, file / "below"):
        found = checked(Settings("127.0.0.1", 0, state), root)["state"]
        assert (found.state, found.detail) == (MISSING, f"{file} is a file")


def test_a_small_disk_is_seen(root: Path, small_disk: Callable[[int], Any]) -> None:
    for size_bytes, state in (8 << 20, MISSING), (64 << 20, WARNING), (1 << 30, OK):
        disk = small_disk(size_bytes)
        found = checked(Settings("127.0.0.1", 0, disk.path), root)["disk"]
        assert found.state == state, found


def test_a_port_that_is_taken_is_seen(root: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = checked(Settings("127.0.0.1", port, tmp_path), root)["address"]
    assert (found.state, str(port) in found.detail) == (MISSING, True)


def test_a_board_that_is_not_in_the_catalogue_is_seen(root: Path, tmp_path: Path) -> None:
    settings = Settings("127.0.0.1", 0, tmp_path, emulate="nanoo")
    assert checked(settings, root)["catalogue"].state == MISSING
    settings = Settings("127.0.0.1", 0, tmp_path, emulate="nano")
    found = checked(settings, root)["catalogue"]
    assert (found.state, "EMULATED" in found.detail) == (WARNING, True)


def test_sensors_that_nobody_set_up_are_passed_over(settings: Settings, root: Path) -> None:
    found = checked(settings, root)
    assert not {"sensor ina226", "sensor um", "sensor remote"} & set(found)
    assert {"sensor rapl", "sensor nvml"} <= set(found) or found["sensor rapl"].state == OK
    asked = dataclasses.replace(settings, sensors=Places(chip="ina226", wiring=Wiring(250, 0x40)))
    found = checked(asked, root)
    assert found["sensor ina226"].state == WARNING
    assert "/dev/i2c-250" in found["sensor ina226"].detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_what_this_user_may_not_do_is_seen(settings: Settings, root: Path) -> None:
    (root / "dev/i2c-1").chmod(0)
    found = checked(settings, root)["i2c"]
    assert (found.state, "usermod" in found.hint) == (WARNING, True)


def test_the_command_says_it_as_lines_or_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--check", "--listen", "127.0.0.1:0", "--state", str(tmp_path)]
    assert main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main([*options, "--json"]) == 0
    found = [Finding(**entry) for entry in json.loads(capsys.readouterr().out)]
    parts = [line.split()[0] for line in lines if not line.strip().startswith("hint:")]
    assert parts == [finding.state for finding in found]
    file = tmp_path / "file"
    file.write_text("")
    assert main(["--check", "--listen", "127.0.0.1:0", "--state", str(file)]) == 1
    assert f"missing state               {file} is a file" in capsys.readouterr().out


def test_without_any_runtime_it_says_how_to_get_one(tmp_path: Path) -> None:
    """In a process of its own, where neither can be found."""
    hide = (
        "import importlib.util as u, sys; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in HIDDEN else real(name, *a)\n"
        "HIDDEN = {'onnxruntime', 'openvino', 'ai_edge_litert', 'tflite_runtime', 'torch'}\n"
        "from edgetran_daemon.main import main; sys.exit(main(sys.argv[1:]))"
    )
    options = ["--check", "--json", "--listen", "127.0.0.1:0", "--state", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", hide, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    found = {entry["part"]: entry for entry in json.loads(done.stdout)}
    assert found["runtimes"]["state"] == MISSING
    assert "edgetran-daemon[onnxruntime]" in found["runtimes"]["hint"]


def test_a_board_that_asks_for_signatures_says_whose(settings: Settings, root: Path) -> None:
    assert "signers" not in checked(settings, root)
    strict = dataclasses.replace(settings, require_signature=True)
    assert checked(strict, root)["signers"].state == WARNING
    folder = settings.state / "signers"
    make_key(folder / "release.txt")  # no file of the folder's kind, whatever it holds
    found = checked(strict, root)["signers"]
    assert (found.state, "release" in found.detail) == (OK, True)
    (folder / "release.pem").write_text("hello")
    assert checked(strict, root)["signers"].state == MISSING
