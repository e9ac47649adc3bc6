"""NVIDIA's graphics cards through NVML: their energy counters, or their watts where they lack one.

The counter (Volta and later) is exact for short work too. Of the watts, NVML says which are
means over a second (Ampere, but not GA100, and later); the instantaneous field is preferred.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Any, Optional

from edgetran_daemon.sensors.base import Clock, PowerSensor, Reading, SensorFault
from edgetran_daemon.sensors.contract import CARD, Contract, mean_bandwidth_hz

MILLI = 1e-3
COUNTER_HZ = 10.0  # it is renewed every 20 to 100 ms
INSTANT_HZ = 10.0
AVERAGE_S = 1.0
ENERGY, INSTANT, AVERAGE = "energy counter", "instantaneous power", "power averaged over 1 s"


class Nvml(PowerSensor):
    """All cards together."""

    name = "nvml"

    def __init__(self, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._cards: list[Any] = []
        self._way = ENERGY
        self._last_mj: list[int] = []
        self._before_mj = 0  # what the counters had when they started over

    @property
    def contract(self) -> Contract:
        rate_hz = COUNTER_HZ if self._way == ENERGY else INSTANT_HZ
        averaged = self._way == AVERAGE
        return Contract(
            scope=CARD,
            covers=f"graphics cards alone, by their {self._way}",
            rate_hz=rate_hz,
            bandwidth_hz=mean_bandwidth_hz(AVERAGE_S) if averaged else rate_hz / 2,
            clock="this machine's, when the driver is asked",
            overhead="a call of the driver a card, ten times a second",
            counts_energy=self._way == ENERGY,
        )

    def unavailable(self) -> str:
        if importlib.util.find_spec("pynvml") is None:
            extra = f"{sys.executable} -m pip install 'edgetran-daemon[nvml]'"
            return f"nvidia-ml-py is missing: {extra}"
        with self._hardware:
            if self._cards:
                return ""
            try:
                self._open()
            except SensorFault as exc:
                return str(exc)
            self._close()
        return ""

    def _open(self) -> None:
        import pynvml

        with self._hardware:
            _asked(pynvml.nvmlInit)
            try:
                count = _asked(pynvml.nvmlDeviceGetCount)
                cards = [_asked(pynvml.nvmlDeviceGetHandleByIndex, n) for n in range(count)]
                if not cards:
                    raise SensorFault("there is no NVIDIA card")
                self._way = _way(cards)
            except SensorFault:
                pynvml.nvmlShutdown()
                raise
            self._cards = cards

    def _close(self) -> None:
        with self._hardware:
            if self._cards:
                import pynvml

                self._cards = []
                pynvml.nvmlShutdown()

    def _read(self) -> Optional[Reading]:
        if not self._cards:
            self._open()
        if self._way != ENERGY:
            watts = [_power_mw(card, self._way) * MILLI for card in self._cards]
            late_s = AVERAGE_S / 2 if self._way == AVERAGE else 0.0
            return Reading(self._clock() - late_s, sum(watts), rails=len(watts))
        counts = [_energy_mj(card) for card in self._cards]
        last, self._last_mj = self._last_mj, counts
        if any(now < before for now, before in zip(counts, last)):
            self._before_mj += sum(last)
            raise SensorFault("the energy counter started over: was the driver loaded again?")
        return Reading(self._clock(), (sum(counts) + self._before_mj) * MILLI, rails=len(counts))


def _asked(call: Callable[..., Any], *arguments: Any) -> Any:
    """Raises SensorFault with what NVML says."""
    import pynvml

    try:
        return call(*arguments)
    except pynvml.NVMLError as exc:
        raise SensorFault(f"NVML: {exc}") from exc


def _way(cards: list[Any]) -> str:
    """The best that all cards can."""
    for way in (ENERGY, INSTANT):
        try:
            for card in cards:
                _energy_mj(card) if way == ENERGY else _power_mw(card, way)
            return way
        except SensorFault:
            continue
    for card in cards:
        _power_mw(card, AVERAGE)
    return AVERAGE


def _energy_mj(card: Any) -> int:
    import pynvml

    return int(_asked(pynvml.nvmlDeviceGetTotalEnergyConsumption, card))


def _power_mw(card: Any, way: str) -> int:
    import pynvml

    if way == AVERAGE:
        return int(_asked(pynvml.nvmlDeviceGetPowerUsage, card))
    field = _asked(pynvml.nvmlDeviceGetFieldValues, card, [pynvml.NVML_FI_DEV_POWER_INSTANT])[0]
    if field.nvmlReturn != pynvml.NVML_SUCCESS:
        raise SensorFault(f"NVML: {pynvml.NVMLError(field.nvmlReturn)}")
    return int(field.value.uiVal)
