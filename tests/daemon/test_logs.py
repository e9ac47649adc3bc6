"""The daemon's log: one line an event, whatever the event holds."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from edgetran_daemon.logs import JsonLine, TextLine, to_journal
from edgetran_protos.generated.edgetran.v1 import text_pb2
from edgetran_protos.generated.edgetran.v1.text_pb2_grpc import TextServiceStub
from hypothesis import given
from hypothesis import strategies as st

SECRET = "my voice is my passport"


def said(formatter: logging.Formatter, message: str, **extra: Any) -> str:
    """The log's text after one warning with a traceback."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log = logging.Logger("edgetran_daemon.serving.served_model")
    log.addHandler(handler)
    try:
        raise ValueError(message)
    except ValueError:
        log.warning("%s", message, exc_info=True, extra=extra)
    return stream.getvalue()


@given(st.text())
def test_an_event_is_one_line_of_json(message: str) -> None:
    text = said(JsonLine(), message, model="home", pid=7)
    assert text.count("\n") == 1
    line = json.loads(text)
    assert (line["level"], line["logger"], line["message"]) == ("warning", "served_model", message)
    assert (line["model"], line["pid"]) == ("home", 7)
    assert "Traceback" in line["exception"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_event_is_one_line_of_text(message: str) -> None:
    text = said(TextLine(), message, model="home")
    assert text.count("\n") == 1
    assert "\r" not in text
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING served_model: ", text)
    assert " model=home " in text
    unescaped = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), text)
    assert message in unescaped


def test_the_journal_gets_a_priority_and_keeps_the_time_itself(tmp_path: Path) -> None:
    text = said(TextLine(to_journal=True), "ended")
    assert text.startswith("<4>served_model: ended")
    with (tmp_path / "log").open("w") as stream:
        status = os.fstat(stream.fileno())
        ours = f"{status.st_dev}:{status.st_ino}"
        assert to_journal(stream, {"JOURNAL_STREAM": ours})
        assert not to_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:0"})
        assert not to_journal(stream, {})
    assert not to_journal(io.StringIO(), {"JOURNAL_STREAM": ours})


@pytest.fixture
def log(tmp_path: Path, tiny: ModuleType) -> Iterator[Path]:
    """Where a real daemon logged a whole life at its most talkative level, as JSON."""
    ready, path = tmp_path / "ready.json", tmp_path / "log"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    command += ["--state", str(tmp_path / "state"), "--ready-file", str(ready), "--threads", "1"]
    command += ["--log-format", "json", "--log-level", "debug"]
    with path.open("wb") as stream:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream)
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None, path.read_text()
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.02)
        with grpc.insecure_channel(json.loads(ready.read_text())["address"]) as channel:
            text = TextServiceStub(channel)
            inputs = [text_pb2.TextInput(text=SECRET)]
            with pytest.raises(grpc.RpcError):
                text.Predict(text_pb2.PredictRequest(model="absent", inputs=inputs))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        yield path
    finally:
        process.kill()
        process.wait()


def test_a_daemon_logs_its_life_but_no_texts(log: Path) -> None:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    messages = [line["message"] for line in lines if line["logger"] == "server"]
    assert messages == ["serving", "draining", "stopped"]
    (refused,) = [line for line in lines if line["logger"] == "interceptor"]
    assert refused["method"] == "/edgetran.v1.TextService/Predict"
    assert refused["error"] == "UnknownModel"
    assert SECRET not in log.read_text()
