"""Intel's and AMD's energy counters (RAPL) through Linux's powercap folders.

Packages add up. Their parts (intel-rapl:0:0: core, uncore, dram) are contained in them, and so
are they in the platform (psys); the same package may show a second time below intel-rapl-mmio.
A counter starts over at its range, within the hour under load; whoever wants joules looks more
often. Since 2020 only root reads it, unless an administrator lets
others (docs/sensors.md).
"""

from __future__ import annotations

import time
from pathlib import Path

from edgetran_daemon.sensors.base import Clock, PowerSensor, Reading
from edgetran_daemon.sensors.contract import PACKAGE, Contract

ROOT = Path("/sys/class/powercap")
MICRO = 1e-6
LOOK_HZ = 100.0  # the counters themselves are renewed about every millisecond
CONTRACT = Contract(
    scope=PACKAGE,
    covers="CPU packages, not the whole board",
    rate_hz=LOOK_HZ,
    bandwidth_hz=LOOK_HZ / 2,  # a count loses nothing; what the looks can tell apart
    clock="this machine's, when the counter is read",
    overhead="one small file a package, a hundred times a second",
    counts_energy=True,
)


class Rapl(PowerSensor):
    name = "rapl"
    contract = CONTRACT

    def __init__(self, root: Path = ROOT, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._packages = [zone for zone in sorted(root.glob("intel-rapl:*")) if _is_package(zone)]
        self._last: dict[Path, int] = {}
        self._wrapped_uj = 0

    def unavailable(self) -> str:
        if not self._packages:
            return "this machine shows no RAPL counters"
        try:
            for package in self._packages:
                _count(package / "energy_uj")
                _count(package / "max_energy_range_uj")
        except PermissionError as exc:
            return f"the RAPL counters cannot be read: {exc.strerror} (see docs/sensors.md)"
        except OSError as exc:
            return f"the RAPL counters cannot be read: {exc.strerror}"
        except ValueError as exc:
            return f"the RAPL counters cannot be read: {exc}"
        return ""

    def _read(self) -> Reading:
        counts = {package: _count(package / "energy_uj") for package in self._packages}
        at_s = self._clock()
        for package, count in counts.items():
            if count < self._last.get(package, 0):  # it started over
                self._wrapped_uj += _count(package / "max_energy_range_uj") + 1
        self._last = counts
        joules = (sum(counts.values()) + self._wrapped_uj) * MICRO
        return Reading(at_s, joules, rails=len(counts))


def _is_package(zone: Path) -> bool:
    """Laptops show the whole platform (psys) beside the packages that it contains."""
    name = zone / "name"
    return name.is_file() and name.read_text().startswith("package")


def _count(file: Path) -> int:
    return int(file.read_text())
