"""The daemon's log: one line an event on standard error, as text or as JSON.

What a client sent (texts, tensors) is never logged; names of models and methods are.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import TextIO

# What the journal takes before a line (sd-daemon(3)); it keeps time and process by itself.
PRIORITIES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}
PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def set_up(style: str, level: str) -> None:
    """style: "text" or "json"; level: a name as in the settings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine() if style == "json" else TextLine(to_journal(sys.stderr)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def to_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether systemd reads this stream: it says so by the stream's device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file behind it, or closed
        return False
    return environ.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


class TextLine(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING serving: message key=value`."""

    def __init__(self, to_journal: bool = False) -> None:
        super().__init__()
        self._to_journal = to_journal

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in extras(record).items())
        text = f"{_short(record.name)}: {record.getMessage()}{fields}"
        if record.exc_info:
            text += f" {self.formatException(record.exc_info)}"
        text = text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
        if self._to_journal:
            return f"{PRIORITIES.get(record.levelno, '<6>')}{text}"
        return f"{_utc(record)} {record.levelname} {text}"


class JsonLine(logging.Formatter):
    """{"time": ..., "level": ..., "logger": ..., "message": ..., and what the event adds}."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": _short(record.name),
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def extras(record: logging.LogRecord) -> dict[str, object]:
    """What the call gave as `extra`: the event's own facts."""
    return {name: value for name, value in record.__dict__.items() if name not in PLAIN}


def _short(name: str) -> str:
    return name.rpartition(".")[2] if name.startswith("edgetran_daemon.") else name


def _utc(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"
