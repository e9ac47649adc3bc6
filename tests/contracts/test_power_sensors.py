"""What every power sensor promises; drivers run it against hardware that is played from below.

RAPL's and powercap's files are made by the test; chips live at the level of their registers
(hardware/ina_chips.py), so that the drivers themselves are the shipped ones.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from edgetran_daemon.sensors import (
    Ina219,
    Ina226,
    Ina260,
    PowerSensor,
    Rapl,
    Reading,
    SensorFault,
    Wiring,
)
from edgetran_daemon.sensors.base import Tally, unbroken
from edgetran_daemon.sensors.contract import SCOPES
from edgetran_daemon.sensors.ina import calibration, current_lsb_a
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


ina_chips = by_path("ina_chips")


class PowerSensorContract:
    """A sensor passes with `sensor`, `spend` (makes the hardware use joules) and `blind`."""

    tolerance_j = 1e-5
    joules = (2.5, 0.25)
    much_j = RANGE_UJ * 1e-6 / 7  # several times around, where something turns around

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
        for _ in range(20):
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
        run(0.2)
        begun_j = sensor.energy_j()
        flow.set(self.bus_v, 40.0)
        found = run(0.2)
        assert "clipped" in found[-1].fault
        assert found[-1].value is None
        with pytest.raises(SensorFault, match="clipped"):
            sensor.energy_j()
        assert sensor.mean_w(found[0].at_s) is None
        flow.set(self.bus_v, 0.0)
        run(0.3)
        assert sensor.energy_j() - begun_j < 0.5, "nothing is added up across what was clipped"

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
        assert bus.calls == looks * self.driver.words + stale  # a stale look is one word

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


class CalibratedChip(ChipContract):
    def test_a_chip_that_lost_its_settings_is_set_up_again(
        self, chip: Any, run: Any, flow: Any, sensor: PowerSensor
    ) -> None:
        """A dip of its supply resets it: current and power read zero, and look fresh."""
        flow.set(self.bus_v, self.current_a)
        run(0.2)
        chip.power_cycle()
        found = run(0.3)
        assert "lost its settings" in next(one.fault for one in found if one.fault)
        assert not any(one.value == 0.0 for one in found)
        assert found[-1].value == pytest.approx(self.bus_v * self.current_a, rel=2e-3)


class TestIna219(CalibratedChip):
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


class TestIna226(CalibratedChip):
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


@given(st.floats(1e-3, 1e4))
def test_a_current_step_is_round_and_reaches_full_scale(full_scale_a: float) -> None:
    step_a = current_lsb_a(full_scale_a)
    assert full_scale_a <= step_a * 2**15 * (1 + 1e-9) <= 2.5 * full_scale_a * (1 + 1e-9)
    digits = f"{step_a:.6e}".split("e")[0]
    assert float(digits) in (1.0, 2.0, 2.5, 5.0)


@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.floats(0, 50) | st.none()), max_size=20))
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
