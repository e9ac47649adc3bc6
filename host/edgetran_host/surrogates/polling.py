"""Clocks that are read now and then: times rounded up to the next poll of a measuring loop.

A loop that looks every s seconds reports phase + k * s, so that the true time lies in the s
before it. Such a grid shows as one phase that all times share (the Rayleigh test of circular
statistics): |mean exp(2 pi i t / s)| near one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AGREEMENT = 0.95  # of the phases; chance alone gives sqrt(ln(grids) / n), 0.6 for 16 rows
MIN_ROWS = 12
COARSEST, FINEST = 1.0, 1 / 60  # grids searched, as shares of the median


@dataclass(frozen=True)
class Polling:
    step: float  # in the measure's own unit
    phase: float

    def round_up(self, values: np.ndarray) -> np.ndarray:
        """What the loop reports of true values (n,)."""
        polls = np.ceil((values - self.phase) / self.step)
        rounded: np.ndarray = self.phase + self.step * np.maximum(1.0, polls)
        return rounded

    def agrees(self, values: np.ndarray) -> bool:
        """Whether reported values lie on this grid."""
        turns = np.exp(2j * np.pi * (values - self.phase) / self.step)
        return bool(turns.real.mean() > AGREEMENT)


def find_polling(values: np.ndarray) -> Polling | None:
    """The coarsest grid that reported values (n,) lie on; None: they lie on none."""
    spread = float(np.ptp(values))
    if len(values) < MIN_ROWS or spread <= 0:
        return None
    middle = float(np.median(values))
    rates = np.arange(1 / (COARSEST * middle), 1 / (FINEST * middle), 0.1 / spread)
    agreement = _agreement(values, rates)
    good = np.flatnonzero(agreement > AGREEMENT)
    if not len(good):
        return None
    at = int(good[0])
    while at + 1 < len(rates) and agreement[at + 1] > agreement[at]:
        at += 1
    fine = np.linspace(rates[max(at - 1, 0)], rates[min(at + 1, len(rates) - 1)], 201)
    rate = float(fine[_agreement(values, fine).argmax()])
    phase = float(np.angle(np.exp(2j * np.pi * values * rate).mean()) / (2 * np.pi * rate))
    return Polling(1 / rate, phase)


def _agreement(values: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """(rates,) length of the mean phase vector."""
    found = [abs(np.exp(2j * np.pi * rate * values).mean()) for rate in rates]
    return np.array(found)
