"""`edgetran-daemon install`: a systemd unit, a file of settings, a user of its own."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgetran_protos.errors import UsageError

from edgetran_daemon.settings import unit
from edgetran_daemon.settings.configuration import DEFAULT_FILE, written

UNIT = Path("/etc/systemd/system") / unit.NAME
SYSUSERS = Path("/etc/sysusers.d/edgetran.conf")
SYSUSERS_TEXT = f'u {unit.USER} - "edgetran-daemon" {unit.STATE}\n'
PROGRAM = (sys.executable, "-m", "edgetran_daemon")
HOMES = ("/home", "/root", "/run/user")
EXECUTE_BY_OTHERS = 0o001
EXAMPLES = """\
examples:
  edgetran-daemon install --user --dry-run     see what would be written
  sudo /opt/edgetran/bin/edgetran-daemon install
                                               for the whole machine
"""


def install(arguments: Sequence[str]) -> None:
    """Raises UsageError, OSError."""
    options = parser().parse_args(arguments)
    prefix: Path = options.prefix
    files = user_files(Path.home()) if options.user else system_files(prefix)
    if options.dry_run:
        _show(prefix, files)
        return
    if prefix == Path("/"):
        _check(options.user)
    for path, text in files.items():
        _write(prefix / path.relative_to("/"), text)
    if prefix == Path("/"):
        _tell_systemd(options.user)
        manager = "systemctl --user" if options.user else "sudo systemctl"
        print(f"next: {manager} enable --now {unit.NAME}")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="edgetran-daemon install",
        description="Writes a systemd unit and a file of settings; settings there are kept.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--user", action="store_true", help="for this user's own systemd, without root")
    add("--prefix", type=Path, default=Path("/"), metavar="DIR", help="of another system's files")
    add("--dry-run", action="store_true", help="print the files and change nothing")
    return made


def system_files(prefix: Path = Path("/")) -> Mapping[Path, str]:
    """What is written, by its place on the system that `prefix` holds."""
    places = (sys.prefix, sys.base_prefix, __file__)
    in_home = any(str(Path(place).resolve()).startswith(HOMES) for place in places)
    settings = {"state": unit.STATE, "log_level": "info"}
    return {
        UNIT: unit.system_unit(PROGRAM, DEFAULT_FILE, _groups(prefix), in_home),
        DEFAULT_FILE: written(settings),
        SYSUSERS: SYSUSERS_TEXT,
    }


def user_files(home: Path) -> Mapping[Path, str]:
    config = home / ".config" / "edgetran" / "daemon.toml"
    return {
        home / ".config" / "systemd" / "user" / unit.NAME: unit.user_unit(PROGRAM, config),
        config: written({"state": home / ".local" / "state" / "edgetran", "log_level": "info"}),
    }


def _groups(prefix: Path) -> list[str]:
    """A unit that names a group which is not there does not start."""
    file = prefix / "etc" / "group"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    there = {line.partition(":")[0] for line in lines}
    return [group for group in unit.GROUPS if group in there]


def _show(prefix: Path, files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        print(f"# {prefix / path.relative_to('/')}\n{text}")


def _check(user: bool) -> None:
    """Raises UsageError when this system could not run the unit."""
    if shutil.which("systemctl") is None:
        raise UsageError(
            "this system has no systemd",
            hint="docs/install.md says how to start the daemon without it",
        )
    if user:
        return
    if os.geteuid() != 0:
        raise UsageError(
            "only root may write a system's unit", hint="add --user, or use sudo with a full path"
        )
    for folder in Path(sys.executable).resolve().parents:
        if not folder.stat().st_mode & EXECUTE_BY_OTHERS:
            raise UsageError(
                f"the service's user could not run {sys.executable}: {folder} is closed to it",
                hint="install edgetran-daemon elsewhere: python3 -m venv /opt/edgetran",
            )


def _write(path: Path, text: str) -> None:
    """Settings that somebody may have changed are kept."""
    if path.name == DEFAULT_FILE.name and path.exists():
        print(f"kept {path}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    print(f"wrote {path}")


def _tell_systemd(user: bool) -> None:
    commands = [["systemctl", "--user", "daemon-reload"]]
    if not user:
        commands = [["systemd-sysusers", str(SYSUSERS)], ["systemctl", "daemon-reload"]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UsageError(
                f"`{' '.join(command)}` failed: {done.stderr.strip()}",
                hint="the files are written; repeat it where systemd runs",
            )
