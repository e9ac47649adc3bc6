"""What every power sensor promises; the real drivers run it against the files they read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from edgetran_daemon.sensors import PowerSensor, Rapl

NOBODY = 65534  # a user without rights
RANGE_UJ = 262_143_328_850  # of a real package

Spend = Callable[[float], None]


class PowerSensorContract:
    """A sensor passes with `sensor`, `spend` (makes the hardware use joules) and `blind`."""

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
        assert sensor.name
        assert sensor.scope
        assert sensor.rate_hz > 0

    def test_it_counts_what_is_spent(self, sensor: PowerSensor, spend: Spend) -> None:
        begun_j = sensor.energy_j()
        assert sensor.energy_j() == begun_j
        spend(2.5)
        assert sensor.energy_j() - begun_j == pytest.approx(2.5, abs=1e-5)
        spend(0.25)
        assert sensor.energy_j() - begun_j == pytest.approx(2.75, abs=1e-5)

    def test_it_never_goes_back(self, sensor: PowerSensor, spend: Spend) -> None:
        readings_j = []
        for _ in range(50):
            spend(RANGE_UJ * 1e-6 / 7)  # several times around
            readings_j.append(sensor.energy_j())
        assert readings_j == sorted(readings_j)

    def test_without_hardware_it_gives_a_reason(self, blind: PowerSensor) -> None:
        assert blind.unavailable()


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
        assert sensor.energy_j() == pytest.approx(123.456789)
        for other in others:
            other.spend(5)
        assert sensor.energy_j() == pytest.approx(123.456789)

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
