"""Intel's and AMD's energy counters (RAPL) through Linux's powercap folders."""

from __future__ import annotations

from pathlib import Path

from edgetran_daemon.sensors.base import PowerSensor

ROOT = Path("/sys/class/powercap")
MICRO = 1e-6


class Rapl(PowerSensor):
    """Sums the packages; their parts (intel-rapl:0:0) and psys would count twice."""

    name = "rapl"
    scope = "CPU packages, not the whole board"
    rate_hz = 1000.0  # the counters' own update rate

    def __init__(self, root: Path = ROOT) -> None:
        self._packages = [zone for zone in sorted(root.glob("intel-rapl:*")) if _is_package(zone)]
        self._last: dict[Path, int] = {}
        self._wrapped_j = 0.0

    def unavailable(self) -> str:
        if not self._packages:
            return "this machine shows no RAPL counters"
        try:
            for package in self._packages:
                _count(package / "energy_uj")
                _count(package / "max_energy_range_uj")
        except OSError as exc:
            return f"the RAPL counters cannot be read: {exc.strerror}"
        except ValueError as exc:
            return f"the RAPL counters cannot be read: {exc}"
        return ""

    def energy_j(self) -> float:
        return sum(self._read(package) for package in self._packages) * MICRO + self._wrapped_j

    def _read(self, package: Path) -> int:
        count = _count(package / "energy_uj")
        if count < self._last.get(package, 0):  # the counter starts over at its range
            self._wrapped_j += _count(package / "max_energy_range_uj") * MICRO
        self._last[package] = count
        return count


def _is_package(zone: Path) -> bool:
    """Laptops show the whole platform (psys) beside the packages that it contains."""
    name = zone / "name"
    return name.is_file() and name.read_text().startswith("package")


def _count(file: Path) -> int:
    return int(file.read_text())
