"""A machine that slows itself down says so once, whichever way its kernel tells."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgetran_daemon.board.board import this_machine
from edgetran_daemon.board.telemetry import Telemetry
from edgetran_daemon.board.throttling import Throttling
from edgetran_daemon.services.convert import telemetry_sample


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def counter(root: Path, core: int, kind: str = "core") -> Path:
    return root / f"devices/system/cpu/cpu{core}/thermal_throttle/{kind}_throttle_count"


def firmware(root: Path) -> Path:
    return root / "devices/platform/soc/soc:firmware/get_throttled"


def test_without_a_source_nobody_knows(tmp_path: Path) -> None:
    write(tmp_path / "devices/system/cpu/cpufreq/thermal_throttle/core_throttle_count", "1")
    assert Throttling(tmp_path).since_last() is None


def test_events_of_any_core_count_since_the_last_look(tmp_path: Path) -> None:
    for core in (0, 1):
        write(counter(tmp_path, core), "7\n")
        write(counter(tmp_path, core, "package"), "2\n")
    found = Throttling(tmp_path)
    assert found.since_last() is False, "what was before is over"
    write(counter(tmp_path, 1), "8\n")
    assert found.since_last() is True
    assert found.since_last() is False
    write(counter(tmp_path, 0, "package"), "3\n")
    assert found.since_last() is True


@pytest.mark.parametrize(
    ("before", "after", "throttled"),
    [
        ("0", "0", False),
        ("50000", "50000", False),  # since the boot, but neither now nor lately
        ("50000", "50005", True),
        ("50005", "50005", True),  # still
        ("0", "40000", True),  # it came and went between two looks
        ("0", "1", True),
    ],
)
def test_flags_of_a_raspberry_pi(tmp_path: Path, before: str, after: str, throttled: bool) -> None:
    write(firmware(tmp_path), f"{before}\n")
    found = Throttling(tmp_path)
    write(firmware(tmp_path), f"{after}\n")
    assert found.since_last() is throttled


def test_what_cannot_be_read_is_not_taken_for_no(tmp_path: Path) -> None:
    write(firmware(tmp_path), "0\n")
    found = Throttling(tmp_path)
    write(firmware(tmp_path), "broken\n")
    assert found.since_last() is None
    write(firmware(tmp_path), "0\n")
    assert found.since_last() is None, "nothing to compare with"
    assert found.since_last() is False


def test_a_sample_carries_it_to_the_wire(tmp_path: Path) -> None:
    write(counter(tmp_path, 0), "0")
    reader = Telemetry(this_machine(), None, lambda: 0.0, system=tmp_path)
    write(counter(tmp_path, 0), "1")
    assert telemetry_sample(reader.sample()).throttled
    found = telemetry_sample(reader.sample())
    assert found.HasField("throttled")
    assert not found.throttled
    unknown = Telemetry(this_machine(), None, lambda: 0.0, system=tmp_path / "none")
    assert not telemetry_sample(unknown.sample()).HasField("throttled")
