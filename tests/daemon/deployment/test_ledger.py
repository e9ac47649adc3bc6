"""The ledger against a list kept by hand, through restarts, power cuts and full disks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgetran_daemon.deployment.ledger import HISTORY_LIMIT, REASON_LIMIT, Ledger, Record, Slot
from edgetran_protos.errors import BoardError, DiskFull
from hypothesis import given, settings
from hypothesis import strategies as st

A, B, C = (Slot(f"sha256:{n}", "v", float(n), 100 + n, "classification") for n in range(3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deployments.json"


def states(ledger: Ledger) -> list[tuple[str, str, str]]:
    return [(r.model, r.bundle_digest, r.state) for r in ledger.records(history=True)]


Change = tuple[str, str, int]
changes = st.lists(
    st.tuples(
        st.sampled_from(["switch", "roll_back", "remove", "failed", "unload", "load"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 2),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(changes)
def test_any_course_of_events_is_remembered(
    tmp_path_factory: pytest.TempPathFactory, made: list[Change]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "deployments.json"
    current: dict[str, Slot] = {}
    previous: dict[str, Slot] = {}
    unloaded: set[str] = set()
    ended: list[tuple[str, str, str]] = []
    for number, (what, model, which) in enumerate(made):
        slot, ledger = (A, B, C)[which], Ledger(path)  # a restart before every change
        if what == "switch":
            ledger.switch(model, slot)
            if model in current and current[model] != slot:
                previous[model] = current[model]
            current[model] = slot
            unloaded.discard(model)
        elif what == "failed":
            ledger.add(Record.failed(model, slot.bundle_digest, "v", "no", float(number)))
            ended.append((model, slot.bundle_digest, "failed"))
        elif model in current and what == "remove":
            ledger.remove(model, float(number))
            ended.append((model, current.pop(model).bundle_digest, "removed"))
            previous.pop(model, None)
            unloaded.discard(model)
        elif model in current and what in ("load", "unload"):
            ledger.set_loaded(model, what == "load")
            (unloaded.discard if what == "load" else unloaded.add)(model)
        elif model in previous and what == "roll_back":
            ledger.roll_back(model, previous[model], "why", float(number))
            ended.append((model, current[model].bundle_digest, "rolled-back"))
            current[model] = previous.pop(model)
            unloaded.discard(model)
        expected = [
            (m, s.bundle_digest, "unloaded" if m in unloaded else "serving")
            for m, s in sorted(current.items())
        ]
        expected += [(m, s.bundle_digest, "previous") for m, s in sorted(previous.items())]
        for one in (ledger, Ledger(path)):
            assert states(one) == expected + ended
            assert one.models() == sorted(current)
            used = {s.bundle_digest for s in [*current.values(), *previous.values()]}
            assert one.digests() == used


def test_without_a_file_nothing_serves(path: Path) -> None:
    ledger = Ledger(path)
    assert (ledger.models(), ledger.records(history=True)) == ([], [])
    assert not path.exists(), "reading writes nothing"


def test_falling_back_keeps_the_reason(path: Path) -> None:
    ledger = Ledger(path)
    ledger.switch("m", A)
    ledger.switch("m", B)
    ledger.fall_back("m", A, Record.failed("m", B.bundle_digest, "v", "at start: rotten", 9.0))
    found = Ledger(path).records(history=True)
    assert [(r.state, r.reason) for r in found] == [("serving", ""), ("failed", "at start: rotten")]


def test_history_is_bounded_in_length_and_width(path: Path) -> None:
    ledger = Ledger(path)
    for number in range(HISTORY_LIMIT + 5):
        ledger.add(Record.failed("m", "d", "v" * 10**5, f"{number} " + "r" * 10**5, 0.0))
    kept = ledger.records(history=True)
    assert len(kept) == HISTORY_LIMIT
    assert kept[0].reason.startswith("5 ")
    assert all(len(r.reason) == len(r.variant) == REASON_LIMIT for r in kept)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        '{"schema": 1}',
        '{"schema": "1", "models": {}, "history": []}',
        '{"schema": 1, "models": [], "history": []}',
        '{"schema": 1, "models": {"m": {}}, "history": []}',
        '{"schema": 1, "models": {"m": null}, "history": []}',
        '{"schema": 1, "models": {"m": {"current": null, "previous": null}}, "history": []}',
        '{"schema": 1, "models": {}, "history": [{}]}',
        '{"schema": 1, "models": {}, "history": null}',
        "\udcff",
    ],
)
def test_a_file_that_is_no_ledger_is_said_and_kept(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BoardError, match="deployments") as caught:
        Ledger(path)
    assert caught.value.hint
    assert path.read_bytes() == text.encode("utf-8", "surrogateescape")


def test_a_newer_file_is_not_misread(path: Path) -> None:
    Ledger(path).switch("m", A)
    path.write_text(path.read_text().replace('"schema":1', '"schema":2'))
    with pytest.raises(BoardError, match="newer"):
        Ledger(path)


def test_a_full_disk_leaves_the_old_ledger(
    small_disk: Callable[[int], Any], tmp_path: Path
) -> None:
    disk = small_disk(64 << 10)
    ledger = Ledger(disk.path / "deployments.json")
    ledger.switch("m", A)
    disk.fill()
    with pytest.raises(DiskFull) as caught:
        ledger.switch("m", B)
    assert caught.value.hint
    for one in (ledger, Ledger(disk.path / "deployments.json")):
        assert states(one) == [("m", A.bundle_digest, "serving")]
    assert sorted(p.name for p in disk.path.iterdir()) == ["deployments.json", "filler"]


WRITER = """
import sys
from pathlib import Path
from edgetran_daemon.deployment.ledger import write_atomically
sizes = 10, 200_000
write_atomically(Path(sys.argv[1]), b"x" * 10, "ledger")
print(flush=True)
while True:
    for size in sizes:
        write_atomically(Path(sys.argv[1]), b"x" * size, "ledger")
"""


def test_a_killed_writer_leaves_one_whole_version(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for number in range(4):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.03 + 0.013 * number)
            writer.send_signal(signal.SIGKILL)
        assert path.read_bytes() in (b"x" * 10, b"x" * 200_000)


def test_the_file_is_json_that_a_person_can_read(path: Path) -> None:
    Ledger(path).switch("kitchen", A)
    raw = json.loads(path.read_text())
    assert raw["models"]["kitchen"]["current"]["bundle_digest"] == A.bundle_digest
