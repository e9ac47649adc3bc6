"""The systemd unit: what is written where, and what systemd's own tools say of it."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from edgetran_daemon.main import main
from edgetran_daemon.settings.configuration import resolve
from edgetran_daemon.settings.unit import system_unit, user_unit

UNIT = "etc/systemd/system/edgetran-daemon.service"
SETTINGS = "etc/edgetran/daemon.toml"
MOST_EXPOSURE = "25"  # of 100; systemd calls up to 50 "medium" and up to 20 "safe"


@pytest.fixture
def prefix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Another system's files, with the daemon installed."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "group").write_text("root:x:0:\ni2c:x:998:pi\nvideo2:x:44:\n")
    assert main(["install", "--prefix", str(tmp_path)]) == 0
    assert str(tmp_path / UNIT) in capsys.readouterr().out
    return tmp_path


def service(text: str) -> configparser.SectionProxy:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(text)
    return read["Service"]


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_unit_starts_the_daemon_with_its_settings(prefix: Path) -> None:
    found = service((prefix / UNIT).read_text())
    assert (found["Type"], found["NotifyAccess"], found["KillMode"]) == ("notify", "main", "mixed")
    assert int(found["WatchdogSec"]) > 0
    program = found["ExecStart"].split()
    assert program == [
        *(sys.executable, "-m", "edgetran_daemon", "--config", "/etc/edgetran/daemon.toml"),
    ]
    values = resolve({}, {}, prefix / SETTINGS)
    assert values["state"] == Path("/var/lib") / found["StateDirectory"]
    users = (prefix / "etc/sysusers.d/edgetran.conf").read_text().split()
    assert users[:2] == ["u", found["User"]]


def test_only_groups_that_are_there_are_asked_for(prefix: Path) -> None:
    assert service((prefix / UNIT).read_text())["SupplementaryGroups"] == "i2c"
    assert "SupplementaryGroups" not in system_unit(["edgetran-daemon"], Path("/x"), [], False)


def test_what_runtimes_and_sensors_need_is_not_shut_out(prefix: Path) -> None:
    text = (prefix / UNIT).read_text()
    found = service(text)
    shut = {"InaccessiblePaths", "TemporaryFileSystem", "PrivateDevices", "MemoryDenyWriteExecute"}
    assert not shut & set(found), "onnxruntime needs /sys, OpenVINO compiles, sensors are devices"
    assert "ProcSubset" not in found, "/proc/stat and /proc/meminfo are the telemetry"
    assert "~@resources" not in text, "a worker pins itself to cores"
    for device in ("char-i2c", "/dev/vcio", "char-usb_device"):
        assert f"DeviceAllow={device} rw" in text


def test_systemd_accepts_the_unit(prefix: Path) -> None:
    done = systemd_analyze("verify", str(prefix / UNIT))
    assert (done.returncode, done.stderr) == (0, "")
    spoilt = prefix / "spoilt.service"
    spoilt.write_text((prefix / UNIT).read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in systemd_analyze("verify", str(spoilt)).stderr


def test_systemd_calls_the_unit_well_shut_in(prefix: Path) -> None:
    if "--offline" not in systemd_analyze("--help").stdout:
        pytest.skip("this systemd-analyze judges only loaded units")
    options = ("--offline=true", f"--threshold={MOST_EXPOSURE}")
    done = systemd_analyze("security", *options, str(prefix / UNIT))
    assert done.returncode == 0, done.stdout
    open_ = prefix / "open.service"
    open_.write_text("[Service]\nExecStart=/bin/true\n")
    assert systemd_analyze("security", *options, str(open_)).returncode != 0


def test_a_second_install_keeps_the_settings(
    prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (prefix / SETTINGS).write_text("threads = 3")
    (prefix / UNIT).write_text("old")
    assert main(["install", "--prefix", str(prefix)]) == 0
    assert f"kept {prefix / SETTINGS}" in capsys.readouterr().out
    assert (prefix / SETTINGS).read_text() == "threads = 3"
    assert "ExecStart" in (prefix / UNIT).read_text()


@pytest.mark.parametrize("user", [[], ["--user"]])
def test_a_dry_run_prints_the_files_and_writes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], user: list[str]
) -> None:
    assert main(["install", "--dry-run", "--prefix", str(tmp_path), *user]) == 0
    out = capsys.readouterr().out
    assert "edgetran-daemon.service\n[Unit]" in out
    assert "daemon.toml" in out
    assert list(tmp_path.iterdir()) == []


def test_a_users_own_unit_asks_for_nothing_that_needs_root(tmp_path: Path) -> None:
    assert main(["install", "--prefix", str(tmp_path), "--user"]) == 0
    (unit,) = tmp_path.rglob("*.service")
    (settings,) = tmp_path.rglob("daemon.toml")
    assert unit.relative_to(tmp_path).parts[-4:-1] == (".config", "systemd", "user")
    found = service(unit.read_text())
    assert not {"User", "DeviceAllow", "CapabilityBoundingSet", "StateDirectory"} & set(found)
    assert found["ExecStart"].endswith(f"/{settings.relative_to(tmp_path)}")
    assert resolve({}, {}, settings)["state"].is_relative_to(Path.home())


def test_a_path_with_signs_that_systemd_reads_survives(tmp_path: Path) -> None:
    text = user_unit(["/opt/100 % $HOME/python"], Path("/etc/x.toml"))
    assert service(text)["ExecStart"] == "'/opt/100 %% $$HOME/python' --config /etc/x.toml"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may install")
def test_without_root_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install"]) == 2
    assert "--user" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_status_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "etc").write_text("a file")
    assert main(["install", "--prefix", str(tmp_path)]) == 1
    assert str(tmp_path / "etc") in capsys.readouterr().err
