"""What every power sensor promises; drivers run it against hardware that is played from below.

The drivers are the shipped ones; what they talk to is played: files of powercap, iio and hwmon,
registers of chips (hardware/ina_chips.py), meters behind a pseudo terminal (hardware/meters.py),
a process that writes property lists, a C library in NVML's place, a second real daemon.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import json
import os
import plistlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from edgetran_daemon.sensors import (
    Ina219,
    Ina226,
    Ina260,
    Ina3221,
    Line,
    Nvml,
    Powermetrics,
    PowerSensor,
    Rapl,
    Reading,
    Remote,
    SensorFault,
    SmartPower3,
    UmMeter,
    Wiring,
    base,
)
from edgetran_daemon.sensors.base import Tally, unbroken
from edgetran_daemon.sensors.clocks import Offset
from edgetran_daemon.sensors.contract import SCOPES
from edgetran_daemon.sensors.ina import calibration, current_lsb_a
from edgetran_daemon.sensors.powermetrics import energy_j
from edgetran_daemon.sensors.smartpower3 import parsed
from hypothesis import given
from hypothesis import strategies as st

NOBODY = 65534  # a user without rights
RANGE_UJ = 262_143_328_850  # of a real package

Spend = Callable[[float], None]


def by_path(name: str) -> ModuleType:
    """A module of the folder hardware."""
    path = Path(__file__).parent / "hardware" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


ina_chips, meters = by_path("ina_chips"), by_path("meters")


class PowerSensorContract:
    """A sensor passes with `sensor`, `spend` (makes the hardware use joules) and `blind`."""

    tolerance_j = 1e-5
    joules = (2.5, 0.25)
    much_j = RANGE_UJ * 1e-6 / 7  # several times around, where something turns around
    turns = 20

    @pytest.fixture
    def sensor(self) -> PowerSensor:
        raise NotImplementedError

    @pytest.fixture
    def spend(self) -> Spend:
        raise NotImplementedError

    @pytest.fixture
    def blind(self) -> PowerSensor:
        """The same driver where there is no such hardware."""
        raise NotImplementedError

    def test_it_says_what_it_is(self, sensor: PowerSensor) -> None:
        assert sensor.unavailable() == ""
        stated = sensor.contract
        assert sensor.name
        assert stated.scope in SCOPES
        assert stated.covers
        assert stated.clock
        assert stated.overhead
        assert 0 < stated.bandwidth_hz <= stated.rate_hz

    def test_it_counts_what_is_spent(self, sensor: PowerSensor, spend: Spend) -> None:
        spend(0.0)
        begun_j = sensor.energy_j()
        spend(0.0)
        assert sensor.energy_j() == pytest.approx(begun_j, abs=self.tolerance_j)
        spent_j = 0.0
        for joules in self.joules:
            spend(joules)
            spent_j += joules
            assert sensor.energy_j() - begun_j == pytest.approx(spent_j, abs=self.tolerance_j)
        assert sensor.tally.faults == 0

    def test_it_never_goes_back(self, sensor: PowerSensor, spend: Spend) -> None:
        readings_j = []
        for _ in range(self.turns):
            spend(self.much_j)
            readings_j.append(sensor.energy_j())
        assert readings_j == sorted(readings_j)
        assert readings_j[-1] > readings_j[0]

    def test_readings_are_in_order_of_time(self, sensor: PowerSensor, spend: Spend) -> None:
        for _ in range(3):
            spend(self.joules[-1])
            sensor.energy_j()
        stamps = [reading.at_s for reading in sensor.readings()]
        assert stamps == sorted(stamps)
        assert len(set(stamps)) > 1
        assert sensor.newest_s == stamps[-1]

    def test_without_hardware_it_gives_a_reason_and_no_joules(self, blind: PowerSensor) -> None:
        assert blind.unavailable()
        assert blind.mean_w(float("-inf")) is None


class Zone:
    """One powercap folder as the kernel makes it."""

    def __init__(self, root: Path, zone: str, name: str, count_uj: int = 0) -> None:
        self.folder = root / zone
        self.folder.mkdir(parents=True)
        (self.folder / "name").write_text(f"{name}\n")
        (self.folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        self.set(count_uj)

    def set(self, count_uj: int) -> None:
        self.count_uj = count_uj % RANGE_UJ
        (self.folder / "energy_uj").write_text(f"{self.count_uj}\n")

    def spend(self, joules: float) -> None:
        self.set(self.count_uj + round(joules * 1e6))


class TestRapl(PowerSensorContract):
    @pytest.fixture
    def package(self, tmp_path: Path) -> Zone:
        return Zone(tmp_path / "powercap", "intel-rapl:0", "package-0", 123_456_789)

    @pytest.fixture
    def sensor(self, package: Zone) -> PowerSensor:
        return Rapl(package.folder.parent)

    @pytest.fixture
    def spend(self, package: Zone) -> Spend:
        return package.spend

    @pytest.fixture
    def blind(self, tmp_path: Path) -> PowerSensor:
        return Rapl(tmp_path / "absent")

    def test_the_counter_starts_over_at_its_range(self, sensor: PowerSensor, package: Zone) -> None:
        package.set(RANGE_UJ - 1_000_000)
        begun_j = sensor.energy_j()
        package.set(500_000)
        assert sensor.energy_j() - begun_j == pytest.approx(1.5, abs=1e-5)
        package.set(RANGE_UJ - 1)
        package.set(0)
        sensor.energy_j()
        assert sensor.energy_j() - begun_j == pytest.approx(1.0 + RANGE_UJ * 1e-6, abs=1e-3)

    def test_parts_of_a_package_and_the_platform_do_not_count_twice(self, package: Zone) -> None:
        root = package.folder.parent
        (root / "intel-rapl").mkdir()  # the driver's own folder
        others = [
            Zone(root, "intel-rapl:0:0", "core", 10**9),
            Zone(root, "intel-rapl:0:1", "dram", 10**9),
            Zone(root, "intel-rapl:1", "psys", 10**9),
            Zone(root, "intel-rapl-mmio:0", "package-0", 10**9),
        ]
        sensor = Rapl(root)
        begun_j = sensor.energy_j()
        for other in others:
            other.spend(5)
        assert sensor.energy_j() == begun_j
        package.spend(5)
        assert sensor.energy_j() - begun_j == pytest.approx(5.0)
        assert {reading.rails for reading in sensor.readings()} == {1}

    def test_every_package_of_a_large_machine_counts(self, tmp_path: Path) -> None:
        zones = [Zone(tmp_path, f"intel-rapl:{n}", f"package-{n}") for n in range(12)]
        sensor = Rapl(tmp_path)
        begun_j = sensor.energy_j()
        for number, zone in enumerate(zones):
            zone.spend(2.0**number)
        assert sensor.energy_j() - begun_j == pytest.approx(2.0**12 - 1)

    def test_packages_wrap_each_on_its_own(self, tmp_path: Path) -> None:
        zones = [Zone(tmp_path, f"intel-rapl:{n}", f"package-{n}") for n in (0, 10)]
        for zone in zones:
            zone.set(RANGE_UJ - 1_000_000)
        sensor = Rapl(tmp_path)
        begun_j = sensor.energy_j()
        for zone in zones:
            zone.spend(3.0)
        assert sensor.energy_j() - begun_j == pytest.approx(6.0, abs=1e-5)

    def test_counters_that_only_root_may_read_give_the_reason(
        self, sensor: PowerSensor, package: Zone
    ) -> None:
        (package.folder / "energy_uj").chmod(0o400)  # the kernel's default since 2020
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        else:
            (package.folder / "energy_uj").chmod(0)
        try:
            reason = sensor.unavailable()
        finally:
            os.seteuid(user)
        assert "Permission denied" in reason

    @pytest.mark.parametrize("text", ["", "a lot", "1.5"])
    def test_nonsense_in_a_counter_gives_a_reason(
        self, sensor: PowerSensor, package: Zone, text: str
    ) -> None:
        (package.folder / "energy_uj").write_text(text)
        assert "cannot be read" in sensor.unavailable()

    def test_a_counter_that_vanished_gives_a_reason(
        self, sensor: PowerSensor, package: Zone
    ) -> None:
        (package.folder / "max_energy_range_uj").unlink()
        assert "No such file" in sensor.unavailable()

    def test_a_counter_that_vanishes_meanwhile_is_a_fault_not_a_figure(
        self, sensor: PowerSensor, package: Zone
    ) -> None:
        sensor.energy_j()
        (package.folder / "energy_uj").unlink()
        with pytest.raises(SensorFault, match="No such file"):
            sensor.energy_j()
        assert sensor.tally == Tally(new=1, stale=0, faults=1)
        package.spend(2.0)
        assert sensor.energy_j() == pytest.approx(2.0), "the hardware went on counting"


class ChipContract(PowerSensorContract):
    """A chip on a bus, in a time that the test moves."""

    tolerance_j = 0.03  # of one conversion window
    much_j = 5.0
    bus_v, current_a = 5.1, 1.0
    address = 0x40
    shunt_ohm = 0.1
    driver: type[Any]
    chip_class: str

    @pytest.fixture
    def clock(self) -> Any:
        return ina_chips.Time()

    @pytest.fixture
    def flow(self, clock: Any) -> Any:
        return ina_chips.Flow(clock)

    @pytest.fixture
    def chip(self, flow: Any, clock: Any) -> Any:
        return getattr(ina_chips, self.chip_class)(flow, clock, self.shunt_ohm)

    @pytest.fixture
    def bus(self, chip: Any) -> Any:
        return ina_chips.Bus({self.address: chip})

    @pytest.fixture
    def sensor(self, bus: Any, clock: Any) -> PowerSensor:
        wiring = Wiring(1, self.address, self.shunt_ohm)
        found: PowerSensor = self.driver(wiring, lambda number: bus, clock)
        return found

    @pytest.fixture
    def blind(self, clock: Any) -> PowerSensor:
        empty = ina_chips.Bus({})
        found: PowerSensor = self.driver(Wiring(1, self.address), lambda number: empty, clock)
        return found

    @pytest.fixture
    def run(self, sensor: PowerSensor, clock: Any) -> Callable[[float], list[Reading]]:
        """Lets so many seconds pass; looks three times as often as there is something new."""

        def pass_s(seconds: float) -> list[Reading]:
            found = []
            for _ in range(round(seconds * sensor.contract.rate_hz * 3)):
                clock.now_s += 1 / (3 * sensor.contract.rate_hz)
                found.append(sensor.poll())
            return [one for one in found if one is not None]

        return pass_s

    @pytest.fixture
    def spend(self, flow: Any, run: Callable[[float], list[Reading]]) -> Spend:
        def use(joules: float) -> None:
            run(0.2)
            flow.set(self.bus_v, self.current_a)
            run(joules / (self.bus_v * self.current_a))
            flow.set(self.bus_v, 0.0)
            run(0.2)

        return use

    def test_a_steady_load_reads_true(self, flow: Any, run: Any, sensor: PowerSensor) -> None:
        run(0.1)
        flow.set(self.bus_v, self.current_a)
        run(0.2)
        assert sensor.poll() is None or sensor.readings()
        newest = sensor.readings()[-1]
        assert newest.value == pytest.approx(self.bus_v * self.current_a, rel=2e-3)

    def test_a_look_that_comes_too_early_is_no_reading(
        self, flow: Any, run: Any, sensor: PowerSensor, clock: Any
    ) -> None:
        """Three looks a conversion: two of three see the old words."""
        flow.set(self.bus_v, self.current_a)
        found = run(1.0)
        assert len(found) == pytest.approx(sensor.contract.rate_hz, abs=1.5)
        assert sensor.tally.stale >= 1.8 * sensor.tally.new
        clock.now_s += 1 / sensor.contract.rate_hz
        assert sensor.poll() is not None
        assert sensor.poll() is None

    def test_a_clipped_reading_is_a_fault_and_its_energy_is_not_known(
        self, flow: Any, run: Any, sensor: PowerSensor
    ) -> None:
        flow.set(self.bus_v, self.current_a)
        run(0.2)
        begun_j = sensor.energy_j()
        flow.set(self.bus_v, 40.0)
        found = run(0.3)
        assert "clipped" in found[-1].fault
        assert found[-1].value is None
        with pytest.raises(SensorFault, match="clipped"):
            sensor.energy_j()
        assert sensor.mean_w(found[0].at_s) is None
        flow.set(self.bus_v, self.current_a)
        run(0.2)
        seen_j = sensor.energy_j() - begun_j
        around_j = 0.25 * self.bus_v * self.current_a  # with the windows at both edges
        assert seen_j < around_j, "nothing is added up across what was clipped"

    def test_power_that_flows_back_has_a_sign(self, flow: Any, run: Any) -> None:
        flow.set(self.bus_v, -self.current_a)
        found = run(0.2)
        assert found[-1].value == pytest.approx(-self.bus_v * self.current_a, rel=2e-3)

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (errno.EREMOTEIO, "nothing answers"),
            (errno.ENXIO, "nothing answers"),
            (errno.ENODEV, "nothing answers"),
            (errno.ETIMEDOUT, "hangs"),
            (errno.EBUSY, "kernel owns"),
            (errno.EACCES, "usermod -aG i2c"),
        ],
    )
    def test_a_bus_that_refuses_gives_a_reason(
        self, sensor: PowerSensor, bus: Any, number: int, said: str
    ) -> None:
        bus.refusal = number
        assert said in sensor.unavailable()
        assert sensor.unavailable().startswith("/dev/i2c-1, 0x40: ")
        bus.refusal = 0
        assert sensor.unavailable() == ""

    def test_a_bus_that_fails_meanwhile_is_a_fault_and_comes_back(
        self, sensor: PowerSensor, bus: Any, run: Any
    ) -> None:
        run(0.2)
        bus.refusal = errno.EREMOTEIO
        assert run(0.1)[-1].fault
        bus.refusal = 0
        assert not run(0.2)[-1].fault

    def test_a_bus_that_is_not_there_gives_a_reason(self, clock: Any) -> None:
        def absent(number: int) -> Any:
            raise OSError(errno.ENOENT, "No such file or directory", f"/dev/i2c-{number}")

        sensor = self.driver(Wiring(7, 0x40), absent, clock)
        assert sensor.unavailable() == "/dev/i2c-7, 0x40: there is no such bus; is I2C switched on?"

    def test_one_that_nobody_set_up_says_how(self) -> None:
        assert "i2c_sensor" in self.driver(None).unavailable()

    def test_another_chip_at_the_address_is_refused(self, clock: Any, flow: Any) -> None:
        for other in {"Ina226Chip", "Ina260Chip"} - {self.chip_class}:
            chip = getattr(ina_chips, other)(flow, clock, 0.1)
            bus = ina_chips.Bus({0x40: chip})
            sensor = self.driver(Wiring(1, 0x40), lambda number, bus=bus: bus, clock)
            assert f"an {other[:6].upper()}" in sensor.unavailable()
            assert sensor.poll().fault

    def test_asking_whether_it_is_there_changes_nothing(self, sensor: Any, chip: Any) -> None:
        before = dict(chip.words)
        assert sensor.unavailable() == ""
        assert chip.words == before

    def test_it_keeps_to_its_overhead(self, flow: Any, run: Any, sensor: Any, bus: Any) -> None:
        flow.set(self.bus_v, self.current_a)
        run(0.2)
        bus.calls, before = 0, sensor.tally.new
        run(1.0)
        looks = sensor.tally.new - before
        stale = round(3 * sensor.contract.rate_hz) - looks
        least = looks * self.driver.words + stale  # a stale look is one word
        assert least <= bus.calls <= least + looks / 32 + 4  # its settings are looked at, too

    def test_a_thread_reads_while_somebody_watches_and_no_longer(
        self, chip: Any, bus: Any, flow: Any, clock: Any
    ) -> None:
        """In real time."""
        chip.clock = flow.clock = time.monotonic
        chip.power_cycle()
        sensor = self.driver(Wiring(1, 0x40, self.shunt_ohm), lambda number: bus)
        flow.set(self.bus_v, self.current_a)
        with sensor.watched(), sensor.watched():
            begun_s = time.monotonic()
            assert sensor.await_reading(begun_s + 0.15, 10.0)
        assert bus.closed
        assert not [one for one in threading.enumerate() if one.name == f"sensor-{sensor.name}"]
        found = sensor.readings(begun_s)
        assert len(found) >= 2
        assert sensor.mean_w(found[0].at_s) == pytest.approx(self.bus_v * self.current_a, rel=0.01)
        seen = sensor.tally.new
        time.sleep(0.05)
        assert sensor.tally.new == seen

    def test_a_chip_that_lost_its_settings_is_set_up_again(
        self, chip: Any, run: Any, flow: Any, sensor: PowerSensor
    ) -> None:
        """A dip of its supply resets it: current and power read zero, and look fresh.

        The INA260 has no calibration to lose: it reads true, and its averaging is missed later.
        """
        flow.set(self.bus_v, self.current_a)
        run(0.2)
        chip.power_cycle()
        found = run(2.0)
        assert "lost its settings" in next(one.fault for one in found if one.fault)
        assert not any(one.value == 0.0 for one in found)
        assert found[-1].value == pytest.approx(self.bus_v * self.current_a, rel=2e-3)

    def test_settings_that_another_program_changed_are_noticed(
        self, chip: Any, run: Any, flow: Any, sensor: PowerSensor
    ) -> None:
        flow.set(self.bus_v, self.current_a)
        run(0.2)
        ours = chip.words[0]
        chip.write(0, ours ^ 0x0040)  # shorter conversions: bursts would alias
        found = run(2.0)
        assert sum("lost its settings" in one.fault for one in found) == 1
        assert chip.words[0] == ours


class TestIna219(ChipContract):
    driver, chip_class = Ina219, "Ina219Chip"

    @pytest.mark.parametrize(
        ("ohm", "lsb_a", "amperes", "volts", "words"),
        [  # data sheet; a Raspberry Pi's breakout
            (0.002, 1e-3, 10.0, 11.98, {5: 0x5000, 1: 0x07D0, 2: 0x5D98, 4: 0x2710, 3: 0x1766}),
            (0.1, 1e-4, 0.437, 5.1, {5: 0x1000, 1: 0x1112, 2: 0x27D8, 4: 0x1112, 3: 0x045A}),
        ],
    )
    def test_worked_examples(
        self, ohm: float, lsb_a: float, amperes: float, volts: float, words: dict[int, int]
    ) -> None:
        chip = ina_chips.Ina219Chip(None, lambda: 0.0, ohm)
        chip.write(0, 0x399F)
        chip.write(5, calibration(0.04096, lsb_a, ohm))
        chip.convert(volts, amperes)
        assert {register: chip.words[register] for register in words} == words

    def test_the_kernels_driver_agrees(self, sensor: Any, chip: Any, run: Any, flow: Any) -> None:
        """hwmon's ina2xx read 437 mA, 5100 mV and 2228000 uW from these words."""
        flow.set(5.1, 0.437)
        assert run(0.2)[-1].value == pytest.approx(2.228)
        assert chip.words[0] == 0x3E67  # 32 V, gain 1/8, 16 samples each, continuous
        assert chip.words[5] == 0x1000
        assert chip.window_s() == pytest.approx(1 / sensor.contract.rate_hz)

    def test_an_overflow_of_its_arithmetic_is_a_fault(
        self, chip: Any, flow: Any, run: Any, sensor: PowerSensor
    ) -> None:
        flow.set(5.1, 1.0)
        run(0.2)
        chip.write(5, 0xFFFE)  # somebody else calibrated it
        assert "clipped" in run(0.1)[-1].fault


class TestIna226(ChipContract):
    driver, chip_class = Ina226, "Ina226Chip"
    shunt_ohm = 0.02

    @pytest.mark.parametrize(
        ("ohm", "lsb_a", "amperes", "volts", "words"),
        [  # data sheet; reverse current
            (0.002, 1e-3, 10.0, 11.98, {5: 0xA00, 1: 0x1F40, 2: 0x2570, 4: 0x2710, 3: 0x12B8}),
            (0.1, 25e-6, -0.123, 5.1, {5: 0x800, 1: 0xECC8, 2: 0x0FF0, 4: 0xECC8, 3: 0x03EB}),
        ],
    )
    def test_worked_examples(
        self, ohm: float, lsb_a: float, amperes: float, volts: float, words: dict[int, int]
    ) -> None:
        chip = ina_chips.Ina226Chip(None, lambda: 0.0, ohm)
        chip.write(5, calibration(0.00512, lsb_a, ohm))
        chip.convert(volts, amperes)
        assert {register: chip.words[register] for register in words} == words

    def test_the_kernels_driver_agrees(self, clock: Any, flow: Any) -> None:
        """hwmon's ina2xx read -123 mA and 626875 uW from these words; update_interval 35 ms."""
        chip = ina_chips.Ina226Chip(flow, clock, 0.1)
        sensor = Ina226(Wiring(1, 0x4F, 0.1), lambda number: ina_chips.Bus({0x4F: chip}), clock)
        flow.set(5.1, -0.123)
        sensor.poll()
        clock.now_s += 0.1
        found = sensor.poll()
        assert found is not None
        assert found.value == pytest.approx(-0.626875)
        assert chip.words[5] == 0x800
        assert chip.window_s() == pytest.approx(35.2e-3)
        assert 1 / sensor.contract.rate_hz == pytest.approx(35.2e-3)

    def test_the_common_breakout_clips_below_a_loaded_pi(self, clock: Any, flow: Any) -> None:
        """0.1 ohm: 0.819 A at most, and a Pi 4 at work takes 1.3 A."""
        chip = ina_chips.Ina226Chip(flow, clock, 0.1)
        sensor = Ina226(Wiring(1, 0x40, 0.1), lambda number: ina_chips.Bus({0x40: chip}), clock)
        for amperes, clipped in ((0.818, False), (0.820, True), (1.3, True), (-0.9, True)):
            flow.set(5.1, amperes)
            sensor.poll()
            clock.now_s += 0.1
            found = sensor.poll()
            assert found is not None
            assert bool(found.fault) == clipped
            assert (found.value is None) == clipped


class TestIna260(ChipContract):
    driver, chip_class = Ina260, "Ina260Chip"

    @pytest.mark.parametrize(
        ("amperes", "volts", "words"),
        [
            (10.0, 12.0, {1: 0x1F40, 2: 0x2580, 3: 0x2EE0}),
            (-1.5, 5.1, {1: 0xFB50, 2: 0x0FF0, 3: 0x02FD}),
        ],
    )
    def test_worked_examples(self, amperes: float, volts: float, words: dict[int, int]) -> None:
        chip = ina_chips.Ina260Chip(None, lambda: 0.0, 0.002)
        chip.convert(volts, amperes)
        assert {register: chip.words[register] for register in words} == words


class LookedAt(PowerSensorContract):
    """Files that always tell the present: looked at twenty times a second of the test's clock."""

    tolerance_j = 0.3  # of two looks
    much_j = 5.0

    @pytest.fixture
    def clock(self) -> Any:
        return ina_chips.Time()

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Callable[[float], None]:
        """Makes the files, and returns what sets the board's milliwatts."""
        raise NotImplementedError

    @pytest.fixture
    def sensor(self, tree: Any, tmp_path: Path, clock: Any) -> PowerSensor:
        return Ina3221(root=tmp_path, clock=clock)

    @pytest.fixture
    def blind(self, tmp_path: Path) -> PowerSensor:
        return Ina3221(root=tmp_path / "absent")

    @pytest.fixture
    def spend(self, tree: Callable[[float], None], sensor: PowerSensor, clock: Any) -> Spend:
        def use(joules: float) -> None:
            for power_mw, seconds in ((0, 0.2), (5000, joules / 5), (0, 0.2)):
                tree(power_mw)
                for _ in range(round(seconds * sensor.contract.rate_hz)):
                    clock.now_s += 1 / sensor.contract.rate_hz
                    sensor.poll()

        return use


def files(folder: Path, contents: dict[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name).write_text(f"{text}\n")
    return folder


class TestIna3221OfJetPack4(LookedAt):
    """The 4 GB Nano: rails in another order than the data sheet's, the input among them."""

    FOLDER = "bus/i2c/drivers/ina3221x/6-0040/iio:device0"

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Callable[[float], None]:
        folder = files(
            tmp_path / self.FOLDER,
            {"rail_name_0": "POM_5V_CPU", "rail_name_1": "POM_5V_IN", "rail_name_2": "POM_5V_GPU"},
        )

        def set_mw(power_mw: float) -> None:
            parts = {"in_power0_input": power_mw * 0.5, "in_power2_input": power_mw * 0.3}
            whole = {"in_power1_input": power_mw}
            files(folder, {name: round(value) for name, value in {**parts, **whole}.items()})

        set_mw(0)
        return set_mw

    def test_the_input_counts_and_its_parts_do_not(self, sensor: Any, tree: Any) -> None:
        tree(4820)
        assert sensor.poll() == Reading(sensor.newest_s, 4.82, rails=1)
        assert sensor.contract.scope == "board"
        assert sensor.contract.covers == "rail POM_5V_IN"

    def test_a_part_may_be_asked_for_and_says_so(self, tree: Any, tmp_path: Path) -> None:
        tree(1000)
        sensor = Ina3221("POM_5V_CPU + POM_5V_GPU", tmp_path)
        assert sensor.unavailable() == ""
        found = sensor.poll()
        assert found is not None
        assert (found.value, found.rails) == (pytest.approx(0.8), 2)
        assert sensor.contract.scope == "rail"

    @pytest.mark.parametrize(
        ("wanted", "said"),
        [
            ("POM_5V_IN+POM_5V_CPU", "count twice"),
            ("VDD_IN", "there is no rail VDD_IN; there are POM_5V_CPU"),
        ],
    )
    def test_rails_that_cannot_be_are_refused(
        self, tree: Any, tmp_path: Path, wanted: str, said: str
    ) -> None:
        assert said in Ina3221(wanted, tmp_path).unavailable()

    @pytest.mark.parametrize("text", ["", "a lot"])
    def test_nonsense_is_a_fault(self, sensor: Any, tree: Any, tmp_path: Path, text: str) -> None:
        (tmp_path / self.FOLDER / "in_power1_input").write_text(text)
        assert "POM_5V_IN cannot be read" in sensor.unavailable()
        assert sensor.poll().fault


class TestIna3221OfJetPack5(LookedAt):
    """Mainline's hwmon: no power, seven voltages of which three are rails."""

    FOLDER = "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Callable[[float], None]:
        labels = {"in1_label": "VDD_IN", "in2_label": "VDD_CPU_GPU_CV", "in3_label": "VDD_SOC"}
        shunts = {f"shunt{n}_resistor": 5000 for n in (1, 2, 3)}
        sums = {"in7_label": "sum of shunt voltages", "in7_input": 99, "curr4_input": 99}
        folder = files(tmp_path / self.FOLDER, {**labels, **shunts, **sums})

        def set_mw(power_mw: float) -> None:
            for number, share in ((1, 1.0), (2, 0.5), (3, 0.2)):
                current_ma = round(power_mw * share / 5)
                names = {f"in{number}_input": 5000, f"curr{number}_input": current_ma}
                files(folder, {**names, f"in{number + 3}_input": current_ma * 5})

        set_mw(0)
        return set_mw

    def test_the_kernels_example(self, sensor: Any, tmp_path: Path) -> None:
        """Shunt register 0410, bus 13B0 at 10 mOhm: hwmon shows 520 mA and 5040 mV."""
        files(tmp_path / self.FOLDER, {"in1_input": 5040, "curr1_input": 520})
        assert sensor.poll().value == pytest.approx(2.6208)
        files(tmp_path / self.FOLDER, {"in1_input": 5000, "curr1_input": -8000})
        assert sensor.poll().value == pytest.approx(-40.0)

    def test_full_scale_is_a_fault(self, tree: Any, tmp_path: Path, sensor: Any) -> None:
        """163.8 mV at 5 mOhm are 32.76 A."""
        files(tmp_path / self.FOLDER, {"curr1_input": 32759})
        assert not sensor.poll().fault
        files(tmp_path / self.FOLDER, {"curr1_input": 32760})
        assert "clipped" in sensor.poll().fault
        assert sensor.unavailable() == ""

    def test_without_a_known_input_the_user_is_asked(self, tree: Any, tmp_path: Path) -> None:
        """An AGX: the rails add up, or do not, by its data sheet alone."""
        files(tmp_path / self.FOLDER, {"in1_label": "VDD_GPU_SOC", "in3_label": "NC"})
        sensor = Ina3221(root=tmp_path)
        assert "power_rail names them" in sensor.unavailable()
        assert "VDD_GPU_SOC, VDD_CPU_GPU_CV is" in sensor.unavailable()
        assert sensor.poll().fault  # type: ignore[union-attr]
        assert Ina3221("VDD_GPU_SOC+VDD_CPU_GPU_CV", tmp_path).unavailable() == ""


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """In this process under NVML's own name: whoever loads libnvidia-ml.so.1 gets it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler to play NVML's library")
    library = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = Path(__file__).parent / "hardware" / "nvml_card.c"
    name = "-Wl,-soname,libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", name, "-o", library, source], check=True)
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


class TestNvml(PowerSensorContract):
    tolerance_j = 2e-3

    @pytest.fixture
    def cards(
        self, nvml_library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., None]:
        """Sets each card's (millijoules, milliwatts now, milliwatts averaged)."""
        pytest.importorskip("pynvml")
        monkeypatch.setenv("NVML_CARDS", str(tmp_path / "cards"))

        def set_to(*each: tuple[float, int, int]) -> None:
            lines = [f"{round(mj)} {now} {mean}\n" for mj, now, mean in each]
            (tmp_path / "cards").write_text("".join(lines))

        set_to((1e6, 60_000, 70_000), (2e6, 20_000, 20_000))
        return set_to

    @pytest.fixture
    def sensor(self, cards: Any) -> PowerSensor:
        return Nvml()

    @pytest.fixture
    def blind(self, cards: Any, tmp_path: Path) -> PowerSensor:
        (tmp_path / "cards").unlink()
        return Nvml()

    @pytest.fixture
    def spend(self, cards: Any) -> Spend:
        total = [1e6, 2e6]

        def use(joules: float) -> None:
            total[0] += joules * 750
            total[1] += joules * 250
            cards((total[0], 60_000, 70_000), (total[1], 20_000, 20_000))

        return use

    def test_the_counter_is_preferred_to_watts(self, sensor: PowerSensor) -> None:
        sensor.unavailable()
        assert sensor.contract.counts_energy
        found = sensor.poll()
        assert found is not None
        assert (found.value, found.rails) == (pytest.approx(3000.0), 2)

    def test_without_it_watts_are_integrated_with_their_bandwidth(self, cards: Any) -> None:
        for each, watts, bandwidth_hz in [
            (((-1, 60_000, 70_000), (5, 20_000, 20_000)), 80.0, 5.0),
            (((-1, -1, 70_000), (-1, 20_000, 20_000)), 90.0, 0.443),
        ]:
            cards(*each)
            sensor = Nvml()
            assert sensor.unavailable() == ""
            assert not sensor.contract.counts_energy
            assert sensor.contract.bandwidth_hz == pytest.approx(bandwidth_hz)
            found = sensor.poll()
            assert found is not None
            assert found.value == pytest.approx(watts)

    def test_a_card_that_tells_nothing_gives_a_reason(self, cards: Any) -> None:
        cards((-1, -1, -1))
        assert "Not Supported" in Nvml().unavailable()
        cards()
        assert Nvml().unavailable() == "there is no NVIDIA card"

    def test_a_counter_that_starts_over_is_a_fault_and_never_goes_back(
        self, cards: Any, sensor: PowerSensor
    ) -> None:
        begun_j = sensor.energy_j()
        cards((500, 0, 0), (2e6, 0, 0))  # its driver was loaded again
        with pytest.raises(SensorFault, match="started over"):
            sensor.energy_j()
        cards((1500, 0, 0), (2e6, 0, 0))
        assert sensor.energy_j() >= begun_j


SAMPLE = {  # of an M1, as recorded
    "is_delta": True,
    "elapsed_ns": 1_002_374_000,
    "thermal_pressure": "Nominal",
    "processor": {
        "cpu_energy": 1923,
        "cpu_power": 383.434,
        "gpu_power": 1157.88,
        "ane_power": 0.0,
        "combined_power": 1541.31,
    },
    "gpu": {"freq_hz": 338.0, "idle_ratio": 0.877},
}


def awaited(sensor: PowerSensor, within_s: float = 20.0) -> Any:
    """What comes next; None: nothing."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if (found := sensor.poll()) is not None:
            return found
    return None


class TestPowermetrics(PowerSensorContract):
    tolerance_j = 1e-6
    much_j = 50.0

    @pytest.fixture
    def tell(self, tmp_path: Path) -> Iterator[Callable[[object], None]]:
        """What the program writes next; it may be started anew at any time."""
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        handle = os.open(fifo, os.O_RDWR)
        yield lambda told: os.write(handle, json.dumps(told).encode() + b"\n") and None
        os.close(handle)

    @pytest.fixture
    def sensor(self, tell: Any, tmp_path: Path) -> Iterator[PowerSensor]:
        player = Path(__file__).parent / "hardware" / "powermetrics_player.py"
        program = (sys.executable, str(player), str(tmp_path / "fifo"))
        sensor = Powermetrics(program, user=lambda: 0)
        yield sensor
        sensor._close()

    @pytest.fixture
    def spend(self, sensor: PowerSensor, tell: Callable[[object], None]) -> Spend:
        def use(joules: float) -> None:
            sample = {"elapsed_ns": 250_000_000, "processor": {"combined_power": joules * 4e3}}
            tell(sample)
            awaited(sensor)

        return use

    @pytest.fixture
    def blind(self) -> PowerSensor:
        return Powermetrics(("powermetrics-of-nowhere",))

    def test_only_root_may(self) -> None:
        assert "needs root" in Powermetrics((sys.executable,), user=lambda: 501).unavailable()

    def test_a_recorded_sample(self) -> None:
        assert energy_j(plistlib.dumps(SAMPLE)) == pytest.approx(1.54131 * 1.002374)
        assert energy_j(b"\0\n" + plistlib.dumps(SAMPLE)) == energy_j(plistlib.dumps(SAMPLE))

    @pytest.mark.parametrize(
        ("processor", "joules"),
        [
            ({"package_energy": 500, "cpu_energy": 300, "gpu_energy": 100}, 0.5),
            ({"cpu_energy": 300, "gpu_energy": 100, "ane_energy": 7}, 0.407),
            ({"cpu_energy": 300, "gpu_energy": 100, "dram_energy": 50}, 0.45),
            ({"cpu_energy": 300}, None),
            ({"cpu_power": 300.0}, None),
        ],
    )
    def test_older_systems_and_missing_keys(
        self, processor: dict[str, float], joules: float | None
    ) -> None:
        """A package contains its parts; what is missing is unknown, not zero."""
        data = plistlib.dumps({"elapsed_ns": 10**9, "processor": processor})
        if joules is None:
            with pytest.raises(SensorFault):
                energy_j(data)
        else:
            assert energy_j(data) == pytest.approx(joules)

    def test_what_the_system_says_of_a_samples_length_counts(
        self, sensor: PowerSensor, tell: Any
    ) -> None:
        tell({"elapsed_ns": 2_000_000_000, "processor": {"combined_power": 1500.0}})
        assert awaited(sensor).value == pytest.approx(3.0)

    def test_nonsense_is_a_fault(self, sensor: PowerSensor, tell: Any) -> None:
        for told in ({"raw": "<plist>&</plist>"}, {"processor": {}}, {"elapsed_ns": 5}):
            tell(told)
            assert awaited(sensor).fault

    def test_a_program_that_ends_is_started_again(self, sensor: PowerSensor, tell: Any) -> None:
        tell(SAMPLE)
        with sensor.watched(first_s=20.0):
            begun_s = sensor.newest_s
            tell({"exit": 3})
            assert sensor.await_reading(begun_s + 1e-9, 20.0)
            assert "ended with status 3" in sensor.readings()[-1].fault
            lost_s = sensor.newest_s
            tell(SAMPLE)
            assert sensor.await_reading(lost_s + 1e-9, 20.0)
            assert not sensor.readings()[-1].fault
            child = sensor._child  # type: ignore[attr-defined]
        assert child.poll() is not None, "nobody watches any more"


def test_a_sensor_that_is_left_and_watched_at_once_has_one_reader() -> None:
    """The thread that ends and the one that begins do not share the hardware."""
    busy, most = [0], [0]

    class Slow(Rapl):
        def _open(self) -> None:
            busy[0] += 1
            most[0] = max(most[0], busy[0])

        def _close(self) -> None:
            time.sleep(0.02)
            busy[0] -= 1

    sensor = Slow(Path("nowhere"))

    def come_and_go() -> None:
        for _ in range(5):
            sensor.start()
            time.sleep(0.002)
            sensor.stop()

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (busy[0], most[0]) == (0, 1)


class TestSmartPower3(PowerSensorContract):
    tolerance_j = 0.06  # a line's
    much_j = 2.0

    @pytest.fixture
    def clock(self) -> Any:
        return ina_chips.Time()

    @pytest.fixture
    def meter(self) -> Iterator[Any]:
        meter = meters.SmartPower3Meter()
        yield meter
        meter.close()

    @pytest.fixture
    def sensor(self, meter: Any, clock: Any) -> Iterator[PowerSensor]:
        pytest.importorskip("serial")
        sensor = SmartPower3(Line(meter.terminal.port, 115200), clock)
        sensor._open()
        yield sensor
        sensor._close()

    @pytest.fixture
    def blind(self, tmp_path: Path) -> PowerSensor:
        return SmartPower3(Line(str(tmp_path / "ttyUSB0"), 115200))

    @pytest.fixture
    def tick(self, meter: Any, sensor: PowerSensor, clock: Any) -> Callable[[], Reading | None]:
        def one() -> Reading | None:
            clock.now_s += meter.interval_ms * 1e-3
            meter.tick()
            for _ in range(50):
                if (found := sensor.poll()) is not None:
                    return found
            return None

        return one

    @pytest.fixture
    def spend(self, meter: Any, tick: Callable[[], Reading | None]) -> Spend:
        def use(joules: float) -> None:
            for power_w, seconds in ((0.0, 0.03), (5.0, joules / 5), (0.0, 0.03)):
                meter.power_w = power_w
                for _ in range(round(seconds / 0.01)):
                    assert tick()

        return use

    @pytest.mark.parametrize(
        "line",
        [
            b"0000815169,15296,0036,00550,0,00000,0000,00000,0,00,00000,0000,00000,0,00,14,12",
            b"0343732187,15321,0072,01103,0,00000,0000,00000,0,00,00000,0000,00000,0,00,1c,12",
            b"0343732197,15332,0084,01287,0,00000,0000,00000,0,00,00000,0000,00000,0,00,09,17",
            b"0343732207,15328,0055,00843,0,00000,0000,00000,0,00,00000,0000,00000,0,00,11,19",
        ],
    )
    def test_lines_of_a_real_one(self, line: bytes) -> None:
        found = parsed(line + b"\r")
        assert found is not None
        assert found.stamp_s == pytest.approx(int(line[:10]) * 1e-3)
        assert (found.power_w, found.outputs) == (0.0, 0)
        assert parsed(line[:-4] + b"15,12\r") is None
        assert parsed(line[:40] + b"7" + line[41:] + b"\r") is None
        assert parsed(line[5:]) is None

    def test_outputs_that_are_on_add_up_and_the_input_does_not(self) -> None:
        both = ((5000, 400, 2000, 1), (12000, 250, 3000, 1))
        found = parsed(meters.smartpower3_line(1, both, supply=(15000, 400, 6000)))
        assert found is not None
        assert (found.power_w, found.outputs) == (pytest.approx(5.0), 2)
        found = parsed(meters.smartpower3_line(1, (both[0], (0, 0, 0, 0))))
        assert found is not None
        assert (found.power_w, found.outputs) == (pytest.approx(2.0), 1)

    def test_outputs_that_are_off_are_a_fault(self, meter: Any, sensor: PowerSensor) -> None:
        meter.write(meters.smartpower3_line(5, (meter.OFF, meter.OFF)))
        found = awaited(sensor)
        assert "both outputs are off" in found.fault

    def test_half_a_line_and_a_spoilt_one_are_no_readings(
        self, meter: Any, sensor: PowerSensor, tick: Any
    ) -> None:
        line = meters.smartpower3_line(7, ((5000, 400, 2000, 1), meter.OFF))
        meter.write(line[30:])
        meter.write(line[:20] + b"9" + line[21:])
        assert [sensor.poll(), sensor.poll()] == [None, None]
        meter.power_w = 3.0
        assert tick().value == pytest.approx(3.0)
        assert sensor.tally.faults == 0

    def test_the_same_line_again_is_stale(self, meter: Any, sensor: Any, tick: Any) -> None:
        tick()
        before = sensor.tally.new
        meter.tick(0)
        assert awaited(sensor, within_s=0.05) is None
        assert sensor.tally.new == before
        tick()
        assert sensor.tally.new == before + 1

    def test_its_interval_is_seen(self, meter: Any, sensor: PowerSensor, tick: Any) -> None:
        for _ in range(9):
            tick()
        assert sensor.contract.rate_hz == pytest.approx(100)
        meter.interval_ms = 500
        tick()
        assert sensor.contract.rate_hz == pytest.approx(100), "a line that was late tells nothing"
        for _ in range(9):
            tick()
        assert sensor.contract.rate_hz == pytest.approx(2)
        assert sensor.contract.bandwidth_hz == pytest.approx(0.886)

    def test_another_baud_rate_is_a_fault(self, meter: Any, sensor: PowerSensor) -> None:
        meter.write(b"\xfe\x80" * 1500)
        assert sensor.poll() is None
        meter.write(b"\xfe\x80" * 1500)
        assert "baud rate" in awaited(sensor).fault

    def test_a_port_that_another_reads_is_refused(self, sensor: Any, meter: Any) -> None:
        other = SmartPower3(Line(meter.terminal.port, 115200))
        assert "cannot be opened" in other.poll().fault  # type: ignore[union-attr]

    def test_a_meter_that_is_unplugged_is_a_fault(self, sensor: PowerSensor) -> None:
        lost = meters.SmartPower3Meter()
        other = SmartPower3(Line(lost.terminal.port, 115200))
        other._open()
        lost.close()
        assert "is gone" in awaited(other).fault
        other._close()

    def test_one_that_nobody_set_up_says_how(self) -> None:
        assert "serial_meter = smartpower3" in SmartPower3(None).unavailable()


class TestUmMeter(PowerSensorContract):
    tolerance_j = 3.0  # of half a second
    joules = (20.0, 10.0)
    much_j = 15.0
    turns = 5

    @pytest.fixture
    def clock(self) -> Any:
        return ina_chips.Time()

    @pytest.fixture
    def meter(self) -> Iterator[Any]:
        meter = meters.UmAnswers()
        yield meter
        meter.close()

    @pytest.fixture
    def sensor(self, meter: Any, clock: Any) -> Iterator[PowerSensor]:
        pytest.importorskip("serial")
        sensor = UmMeter(Line(meter.terminal.port, 9600), clock)
        yield sensor
        sensor._close()

    @pytest.fixture
    def blind(self, tmp_path: Path) -> PowerSensor:
        return UmMeter(Line(str(tmp_path / "rfcomm0"), 9600))

    @pytest.fixture
    def spend(self, meter: Any, sensor: PowerSensor, clock: Any) -> Spend:
        def use(joules: float) -> None:
            for amperes, seconds in ((0.0, 1.0), (1.0, joules / 5), (0.0, 1.0)):
                meter.amperes = amperes
                for _ in range(round(seconds * 2)):
                    clock.now_s += 0.5
                    sensor.poll()

        return use

    @pytest.mark.parametrize(
        ("model", "head"),
        [
            (0x09C9, "09c9 13ec 1112 000008b5"),  # UM25C: 5.100 V, 0.4370 A
            (0x0963, "0963 01fe 01b5 000008b5"),  # UM24C: 5.10 V, 0.437 A
            (0x0D4C, "0d4c 01fe 01b5 000008b5"),
        ],
    )
    def test_bytes_of_each_model(self, model: int, head: str, clock: Any) -> None:
        meter = meters.UmAnswers(model)
        try:
            meter.volts, meter.amperes = 5.1, 0.437
            assert meter.answer()[:10] == bytes.fromhex(head)
            sensor = UmMeter(Line(meter.terminal.port, 9600), clock)
            assert sensor.poll().value == pytest.approx(2.229)  # type: ignore[union-attr]
            sensor._close()
        finally:
            meter.close()

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda answer: answer[:60], "60 bytes of 130"),
            (lambda answer: b"\x12\x34" + answer[2:], "unknown meter answers: 1234"),
            (lambda answer: answer[:6] + b"\0\0\x40\0" + answer[10:], "do not agree"),
        ],
    )
    def test_what_is_no_answer_is_a_fault(
        self, meter: Any, sensor: PowerSensor, spoil: Any, said: str
    ) -> None:
        meter.spoil = spoil
        found = sensor.poll()
        assert found is not None
        assert said in found.fault


@pytest.fixture(scope="module")
def live_meter() -> Iterator[Any]:
    pytest.importorskip("serial")
    meter = meters.LiveMeter(lambda: TestRemote.power_w)
    yield meter
    meter.close()


@pytest.fixture(scope="module")
def address(live_meter: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a second daemon, which reads the meter."""
    meter = f"smartpower3:{live_meter.port}"
    options = ("--power-sensor", "smartpower3", "--serial-meter", meter)
    with served(tmp_path_factory.mktemp("other"), *options) as address:
        yield address


class TestRemote(PowerSensorContract):
    """A second daemon, in real time, with a meter on a pseudo terminal."""

    tolerance_j = 2.5  # of a message: a tenth of a second
    joules = (10.0,)
    much_j = 2.0
    turns = 2
    power_w = 0.0

    @pytest.fixture
    def sensor(self, address: str) -> Iterator[PowerSensor]:
        sensor = Remote(address)
        with sensor.watched(first_s=20.0):
            yield sensor

    @pytest.fixture
    def spend(self, sensor: PowerSensor) -> Spend:
        def use(joules: float) -> None:
            TestRemote.power_w = 25.0
            time.sleep(joules / 25.0)
            TestRemote.power_w = 0.0
            sensor.await_reading(time.monotonic() + 0.15, 20.0)

        return use

    @pytest.fixture
    def blind(self) -> PowerSensor:
        return Remote(free_address())

    def test_it_tells_whose_it_is(self, sensor: PowerSensor, address: str) -> None:
        assert sensor.contract.covers.startswith(f"smartpower3 of {address}: the supply's")
        assert sensor.contract.scope == "board"

    def test_readings_are_on_our_clock(self, sensor: PowerSensor) -> None:
        begun_s = time.monotonic()
        assert sensor.await_reading(begun_s, 20.0)
        for reading in sensor.readings(begun_s):
            assert begun_s <= reading.at_s <= time.monotonic()

    def test_what_is_modelled_there_is_not_measured_here(self, tmp_path: Path) -> None:
        with served(tmp_path, "--emulate", "nano") as address:
            assert "modelled" in Remote(address).unavailable()
            assert "modelled" in Remote(address).poll().fault  # type: ignore[union-attr]

    def test_one_that_nobody_set_up_says_how(self) -> None:
        assert "remote_sensor = HOST:PORT" in Remote("").unavailable()


@contextmanager
def served(folder: Path, *options: str) -> Iterator[str]:
    """A real daemon's address."""
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    command += ["--state", str(folder / "state"), "--ready-file", str(ready), "--threads", "1"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.02)
        yield json.loads(ready.read_text())["address"]
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def free_address() -> str:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{trial.getsockname()[1]}"


@given(
    st.floats(-1e6, 1e6),
    st.lists(st.tuples(st.floats(0.05, 5.0), st.floats(0.001, 0.4)), min_size=1, max_size=40),
)
def test_another_clocks_stamps_are_moved_by_the_fastest_message(
    offset_s: float, messages: list[tuple[float, float]]
) -> None:
    """Late by at least the shortest way of the last minute, and never later than it came."""
    clock, here_s, lates, last_s = Offset(), 100.0, [], 0.0
    for pause_s, way_s in messages:
        here_s += pause_s
        lates.append((here_s, way_s))
        found_s = clock.local_s(here_s + offset_s, here_s + way_s)
        shortest_s = min(way for at, way in lates if at + way >= here_s + way_s - 60.0)
        assert found_s == pytest.approx(max(last_s, here_s + shortest_s), abs=1e-6)
        last_s = found_s


def test_a_clock_that_started_anew_is_noticed() -> None:
    clock = Offset()
    assert clock.local_s(5000.0, 100.0) == 100.0
    assert clock.local_s(1.0, 110.0) == 110.0


def test_an_extra_that_is_missing_is_a_fault_and_does_not_end_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "smbus2", None)
    sensor = Ina226(Wiring(1, 0x40))
    with sensor.watched():
        assert "smbus2" in sensor.readings()[-1].fault
        assert [one for one in threading.enumerate() if one.name == "sensor-ina226"]


def test_what_is_kept_has_an_end_and_what_is_counted_has_none(tmp_path: Path) -> None:
    zone = Zone(tmp_path, "intel-rapl:0", "package-0")
    ticks = iter(range(10**6))
    sensor = Rapl(tmp_path, clock=lambda: next(ticks) * 1.0)
    begun_j = sensor.energy_j()
    for _ in range(3 * round(base.KEPT_S)):
        sensor.poll()
    zone.spend(3.0)
    assert sensor.energy_j() - begun_j == pytest.approx(3.0)
    assert len(sensor.readings()) == base.KEPT_S + 1


@given(st.floats(1e-3, 1e4))
def test_a_current_step_is_round_and_reaches_full_scale(full_scale_a: float) -> None:
    step_a = current_lsb_a(full_scale_a)
    assert full_scale_a <= step_a * 2**15 * (1 + 1e-9) <= 2.5 * full_scale_a * (1 + 1e-9)
    digits = f"{step_a:.6e}".split("e")[0]
    assert float(digits) in (1.0, 2.0, 2.5, 5.0)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.01, 0.1, 0.2, 0.6]), st.none() | st.just(5.0)), max_size=20
    )
)
def test_stretches_are_all_good_readings_cut_where_one_cannot_know(
    steps: list[tuple[float, float | None]],
) -> None:
    contract = Ina226(Wiring(1, 0x40)).contract
    readings, at_s = [], 0.0
    for step_s, value in steps:
        at_s += step_s
        readings.append(Reading(at_s, value, fault="" if value is not None else "lost"))
    found = list(unbroken(readings, contract))
    assert [one for part in found for one in part] == [r for r in readings if not r.fault]
    for part in found:
        for before, after in zip(part, part[1:]):
            assert after.at_s - before.at_s <= 0.5
            assert not [r for r in readings if r.fault and before.at_s < r.at_s < after.at_s]
