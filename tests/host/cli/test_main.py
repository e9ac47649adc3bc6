"""What the command says when something ends it."""

from __future__ import annotations

import threading
from typing import Any

import click
import pytest
from edgetran_host.cli import main as module
from edgetran_protos.errors import UsageError


def ended_by(monkeypatch: pytest.MonkeyPatch, work: Any) -> int:
    monkeypatch.setattr(module.cli, "main", lambda **_: work())
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def interrupted_in_a_lock() -> None:
    """As threading.Condition.wait ends when a signal comes while it takes its lock again."""
    condition = threading.Condition()
    with condition:
        condition.release()
        raise KeyboardInterrupt


def raising(error: BaseException) -> Any:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    "work", [raising(KeyboardInterrupt()), raising(click.Abort()), interrupted_in_a_lock]
)
def test_interrupted(
    work: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended_by(monkeypatch, work) == 130
    said = capsys.readouterr().err
    assert said == "error: interrupted\n hint: run the same command again to continue\n"


def test_a_mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(monkeypatch, raising(UsageError("no such board", hint="see the list"))) == 1
    assert capsys.readouterr().err == "error: no such board\n hint: see the list\n"


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.cli, "main", lambda **_: {}["missing"])
    with pytest.raises(KeyError):
        module.main()
