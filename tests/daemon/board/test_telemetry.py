"""How a board is doing, with what nobody knows left out all the way to the wire."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from edgetran_daemon.board.board import emulated, free_cores, this_machine, usable_cores
from edgetran_daemon.board.telemetry import Sample, Telemetry, idle_and_total_s
from edgetran_daemon.sensors import PowerSensor, Rapl
from edgetran_daemon.services import convert

NANO = emulated("nano")


class Counter:
    """A RAPL package in files."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "intel-rapl:0"
        self._folder.mkdir(parents=True)
        (self._folder / "name").write_text("package-0")
        (self._folder / "max_energy_range_uj").write_text(str(1 << 40))
        self.set_j(0.0)
        self.sensor: PowerSensor = Rapl(root)

    def set_j(self, joules: float) -> None:
        (self._folder / "energy_uj").write_text(str(round(joules * 1e6)))


@pytest.fixture
def counter(tmp_path: Path) -> Counter:
    return Counter(tmp_path)


def nothing_s() -> float:
    return 0.0


def test_power_is_the_mean_since_the_last_sample(counter: Counter) -> None:
    reader = Telemetry(this_machine(), counter.sensor, nothing_s)
    last_s = reader.sample().monotonic_s
    for total_j, spent_j in ((2.0, 2.0), (3.0, 1.0), (3.0, 0.0)):
        time.sleep(0.02)
        counter.set_j(total_j)
        sample = reader.sample()
        period_s = sample.monotonic_s - last_s
        assert sample.power_w == pytest.approx(spent_j / period_s, rel=0.05)
        assert not sample.modelled
        last_s = sample.monotonic_s


def test_this_machine_says_what_it_can() -> None:
    reader = Telemetry(this_machine(), None, nothing_s)
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        pass  # one core at work
    sample = reader.sample()
    assert sample.power_w is None
    assert sample.cpu_load is not None
    assert 0.5 / os.cpu_count() <= sample.cpu_load <= 1  # type: ignore[operator]
    assert sample.memory_used_bytes > 1 << 24


def test_two_readers_do_not_disturb_each_other(counter: Counter) -> None:
    readers = [Telemetry(this_machine(), counter.sensor, nothing_s) for _ in range(2)]
    begun = [reader.sample() for reader in readers]
    counter.set_j(5.0)
    time.sleep(0.02)
    for sample, before in zip([reader.sample() for reader in readers], begun):
        assert sample.power_w is not None
        spent_j = sample.power_w * (sample.monotonic_s - before.monotonic_s)
        assert spent_j == pytest.approx(5.0, rel=0.05)


def test_load_counts_every_second_once() -> None:
    """Idle and busy together are what the clock says, for all cores together."""
    idle_s, total_s = idle_and_total_s()
    time.sleep(0.5)
    later_idle_s, later_total_s = idle_and_total_s()
    assert later_total_s - total_s == pytest.approx(0.5 * (os.cpu_count() or 1), rel=0.3)
    assert 0 <= later_idle_s - idle_s <= later_total_s - total_s + 0.02


def test_an_emulated_board_draws_between_idle_and_active() -> None:
    busy_s = 0.0
    assert NANO.model is not None
    reader = Telemetry(NANO, None, lambda: busy_s)
    time.sleep(0.02)
    assert reader.sample().power_w == NANO.model.idle_w
    busy_s += 0.01
    time.sleep(0.02)
    partly = reader.sample().power_w
    assert partly is not None
    assert NANO.model.idle_w < partly < NANO.model.active_w
    busy_s += 100.0  # answered faster than the board could
    assert reader.sample().power_w == pytest.approx(NANO.model.active_w)


def test_an_emulated_board_has_no_senses_of_this_machine(counter: Counter) -> None:
    sample = Telemetry(NANO, None, nothing_s).sample()
    assert sample.modelled
    assert (sample.temperature_c, sample.cpu_load, sample.clock_hz) == (None, None, None)


@pytest.mark.parametrize("value", [None, 0.0, 3.5])
def test_unknown_stays_unknown_on_the_wire(value: float | None) -> None:
    sample = Sample(1.0, value, value, value, 7, value, modelled=False)
    message = convert.telemetry_sample(sample)
    for name in ("power_w", "temperature_c", "cpu_load", "clock_hz"):
        assert message.HasField(name) == (value is not None)
        assert getattr(message, name) == (value or 0.0)
    assert not message.HasField("throttled"), "no source tells us yet"


def test_free_cores_are_those_that_nobody_uses() -> None:
    assert 1 <= free_cores() <= usable_cores()
    spinning = [_spin() for _ in range(2 * usable_cores())]
    try:
        time.sleep(0.2)
        assert free_cores() == 1, "every core is busy; one is the least"
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def _spin() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "while True: pass"])
