"""The command line of `edgetran-daemon`: the settings of the table, and what only a person asks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from edgetran_daemon.board.describe import daemon_version
from edgetran_daemon.settings.configuration import BY_NAME, DEFAULT_FILE, FILE_VARIABLE, KEYS, Key
from edgetran_daemon.settings.kinds import Kind, Switch, Text

EXAMPLES = f"""\
Every option may also stand in {DEFAULT_FILE} (see --print-config), or in the
environment (EDGETRAN_LISTEN for --listen). The command line wins, then the environment.

examples:
  edgetran-daemon                              serve this machine on 127.0.0.1:50051
  edgetran-daemon --emulate nano:gpu           pretend to be a Jetson Nano's GPU
  edgetran-daemon --emulate rpi4 --calibration protran-2022
                                               what a published study would have noted
  edgetran-daemon --listen unix:/run/edgetran.sock
                                               for programs on this machine only
  edgetran-daemon --listen 0.0.0.0:50051 --insecure
                                               on a network you trust
  sudo /opt/edgetran/bin/edgetran-daemon install
                                               start it with this machine (systemd)
"""


@dataclass(frozen=True)
class Asked:
    """`told`: the settings that were given; all others are left to the file and the environment."""

    told: Mapping[str, Any]
    config: Optional[Path]
    print_config: bool
    check: bool
    json: bool


def parse(arguments: Sequence[str]) -> Asked:
    """Leaves the program, as argparse does, when an option is none."""
    found = vars(parser().parse_args(arguments))
    told = {name: found[name] for name in BY_NAME if name in found}
    return Asked(told, found["config"], found["print_config"], found["check"], found["json"])


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="edgetran-daemon",
        description="Serves and measures transformer models on this board.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a script's short form must not change its meaning one day
    )
    add = made.add_argument
    add("--version", action="version", version=f"edgetran-daemon {daemon_version()}")
    for key in KEYS:
        _add(made, key)
    add("--config", type=Path, metavar="FILE", help=f"settings, else ${FILE_VARIABLE}")
    add("--print-config", action="store_true", help="print such a file, with every key explained")
    add("--check", action="store_true", help="say what is there and what is missing, and leave")
    add("--json", action="store_true", help="say where it serves, or what was checked, as JSON")
    add("-v", "--verbose", dest="log_level", action="store_const", const="info",
        default=argparse.SUPPRESS, help="the same as --log-level info")  # fmt: skip
    return made


def _add(made: argparse.ArgumentParser, key: Key) -> None:
    default = str(key.default) not in ("None", "", "False") and not isinstance(key.kind, Switch)
    text = f"{key.help} ({key.default})" if default else key.help
    common: dict[str, Any] = {"dest": key.name, "default": argparse.SUPPRESS, "help": text}
    if isinstance(key.kind, Switch):
        made.add_argument(key.option, action="store_true", **common)
    elif isinstance(key.kind, Text) and key.kind.choices:
        made.add_argument(key.option, choices=key.kind.choices, **common)
    else:
        metavar = key.metavar or "N"
        made.add_argument(key.option, type=_reader(key.kind), metavar=metavar, **common)


def _reader(kind: Kind) -> Callable[[str], object]:
    def read(text: str) -> object:
        try:
            return kind.of_text(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {kind.what}") from None

    return read
