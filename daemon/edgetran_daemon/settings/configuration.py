"""Everything a daemon can be told, in one table.

A setting has one name: `idle_exit_s` in the file, EDGETRAN_IDLE_EXIT_S in the environment,
--idle-exit on the command line. The command line wins over the environment, that over the
file, that over the default.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from edgetran_devices import RESIDENT
from edgetran_protos.errors import UsageError

from edgetran_daemon.deployment.rules import MAX_MODELS, WatchRule
from edgetran_daemon.sensors.places import AUTO, NAMES, NONE
from edgetran_daemon.serving.serving_rules import QUEUE_LIMIT, Batching
from edgetran_daemon.serving.worker_pythons import OWN
from edgetran_daemon.settings.kinds import (
    Batches,
    Kind,
    NotNegative,
    Place,
    Positive,
    Pythons,
    Switch,
    Text,
    Whole,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_FILE = Path("/etc/edgetran/daemon.toml")
FILE_VARIABLE = "EDGETRAN_CONFIG"
HEADER = """\
# Settings of edgetran-daemon. Every key is here with its default, or an example where it has
# none; take the # away to change one. The environment (EDGETRAN_LISTEN) and the command line
# (--listen) win over this file. `edgetran-daemon --check` says whether it all works.
"""


@dataclass(frozen=True)
class Key:
    """One setting. `default` None: unset, and `help` says what that means."""

    name: str
    kind: Kind
    help: str
    default: object
    example: object = None  # shown in the file where there is no default
    metavar: str = ""
    flag: str = ""  # where it is not the name with dashes

    @property
    def option(self) -> str:
        return self.flag or f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return f"EDGETRAN_{self.name.upper()}"


KEYS = (
    Key("listen", Text(), "HOST:PORT (port 0: any free one) or unix:PATH", "127.0.0.1:50051",
        metavar="ADDRESS"),
    Key("insecure", Switch(), "allow addresses that other machines can reach", False),
    Key("tls", Switch(), "only paired clients, on this machine too (others always)", False),
    Key("emulate", Text(), "model a board's times and power instead of measuring", "",
        metavar="BOARD[:UNIT]"),
    Key("calibration", Text(), "which of the emulated board's models answers: a loaded model's "
        "inference, or what a published study saw of whole processes, protran-2022", RESIDENT,
        metavar="NAME"),
    Key("calibration_seed", Whole(1 << 31), "a published calibration's scatter and session drift "
        "are drawn with it (none: its expected figures)", None, 1, "SEED"),
    Key("state", Place(), "where models are kept (~/.local/state/edgetran)", None,
        "/var/lib/edgetran", "DIR"),
    Key("threads", Whole(256), "a model's threads (the cores that are free at the start)", None, 4),
    Key("ready_file", Place(), "written when serving: address and process", None,
        "/run/edgetran/ready.json", "PATH"),
    Key("idle_exit_s", Positive(), "stop when unused for so long (never)", None, 900.0,
        "SECONDS", "--idle-exit"),
    Key("max_message_mb", Whole(2047), "largest request or answer", 64,  # gRPC: 32 bits of bytes
        metavar="MB"),
    Key("watch_s", NotNegative(), "how long a new model may be taken back by itself",
        WatchRule().seconds, metavar="SECONDS", flag="--watch"),
    Key("anti_rollback", Switch(), "take no bundle older than one that was committed", False),
    Key("require_signature", Switch(), "take no bundle that nobody signed whom `signers` trusts",
        False),
    Key("signers", Place(), "folder of public keys and certificates (PEM) whose signatures count "
        "(signers, below state)", None, "/etc/edgetran/signers", "DIR"),
    Key("max_models", Whole(1000), "names that models may be served under", MAX_MODELS),
    Key("metrics_address", Text(), "HOST:PORT of Prometheus's endpoint (none)", "",
        metavar="ADDRESS"),
    Key("power_sensor", Text(AUTO, NONE, *NAMES), "what measures energy (the first that answers)",
        AUTO),
    Key("i2c_sensor", Text(), "a power sensor on an I2C bus (none), e.g. ina226:1:0x40:0.01", "",
        metavar="CHIP:BUS:ADDRESS[:OHM]"),
    Key("serial_meter", Text(), "a power meter on a serial port (none), e.g. um:/dev/rfcomm0", "",
        metavar="METER:PORT[:BAUD]"),
    Key("remote_sensor", Text(), "a daemon whose power sensor is wired to this board (none)", "",
        metavar="ADDRESS"),
    Key("power_rail", Text(), "rails of an INA3221 that add up, A+B (the board's input)", "",
        metavar="RAIL[+RAIL]"),
    Key("queue_limit", Whole(100_000), "requests of a model that wait or run; more are refused",
        QUEUE_LIMIT),
    Key("batching", Batches(), "requests that may share a run, and how long one waits for others "
        "before an idle model", Batching(), metavar='"[MODEL=]ROWS[:MS] ..."'),
    Key("shared_memory", Text("local", "off"), "tensors in a client's shared memory: where only "
        "this machine can connect, or never", "local"),
    Key("worker_memory_mb", Whole(1 << 20), "what a model's process may take (no limit)", None, 512,
        "MB"),
    Key("store_limit_mb", Whole(1 << 20), "what all bundles may take of the disk (what is free)",
        None, 2048, "MB"),
    Key("worker_python", Pythons(), "which Python runs a runtime's models (the daemon's own)", OWN,
        metavar='"RUNTIME=PATH ..."'),
    Key("log_format", Text("text", "json"), "one line an event, as text or as JSON", "text"),
    Key("log_level", Text("debug", "info", "warning", "error"), "the least that is logged",
        "warning"),
)  # fmt: skip
BY_NAME = {key.name: key for key in KEYS}


def resolve(
    told: Mapping[str, Any], environ: Mapping[str, str], file: Optional[Path] = None
) -> dict[str, Any]:
    """Every key's value. `told`: from the command line; `file` None: the usual one if it is there.

    Raises UsageError.
    """
    values: dict[str, Any] = {key.name: key.default for key in KEYS}
    values.update(read_file(found) if (found := find_file(environ, file)) else {})
    values.update(from_environment(environ))
    values.update(told)
    return values


def find_file(environ: Mapping[str, str], file: Optional[Path] = None) -> Optional[Path]:
    """The file that counts: the one named, or the usual one if it is there."""
    named = file or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    if named is not None:
        return named
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def read_file(path: Path) -> dict[str, Any]:
    """Raises UsageError when it cannot be read, or holds what is no setting."""
    try:
        raw = tomllib.loads(path.read_bytes().decode())
    except OSError as exc:
        hint = "write one with `edgetran-daemon --print-config`, or leave out --config"
        raise UsageError(f"{path} cannot be read: {exc.strerror}", hint=hint) from exc
    except ValueError as exc:  # no TOML, no UTF-8
        raise UsageError(
            f"{path}: {exc}", hint="`edgetran-daemon --print-config` shows how it is written"
        ) from exc
    return {name: _of_file(path, name, value) for name, value in raw.items()}


def _of_file(path: Path, name: str, value: object) -> object:
    if name not in BY_NAME:
        alike = difflib.get_close_matches(name, BY_NAME, n=1, cutoff=0.5)
        guess = f"did you mean {alike[0]!r}? " if alike else ""
        raise UsageError(
            f"{path}: there is no setting {name!r}", hint=f"{guess}known: {', '.join(BY_NAME)}"
        )
    kind = BY_NAME[name].kind
    try:
        return kind.of_value(value)
    except ValueError:
        raise UsageError(f"{path}: {name} is {value!r}", hint=f"it must be {kind.what}") from None


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Raises UsageError."""
    found: dict[str, Any] = {}
    for key in KEYS:
        text = environ.get(key.variable, "")
        if not text:
            continue  # set to nothing is how a shell unsets it for one command
        try:
            found[key.name] = key.kind.of_text(text)
        except ValueError:
            raise UsageError(
                f"{key.variable} is {text!r}", hint=f"it must be {key.kind.what}"
            ) from None
    return found


def written(values: Mapping[str, object]) -> str:
    """The file's text: every key with its help, those in `values` set, the others commented out."""
    parts = [HEADER]
    for key in KEYS:
        value = values.get(key.name, key.example if key.default is None else key.default)
        comment = "" if key.name in values else "# "
        parts.append(f"# {key.help}; {key.kind.what}\n{comment}{key.name} = {_toml(value)}\n")
    return "\n".join(parts)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    # A JSON string is one of TOML's too, but for one character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def default_state() -> Path:
    home = os.environ.get("EDGETRAN_HOME")
    return Path(home) / "daemon" if home else Path.home() / ".local" / "state" / "edgetran"
