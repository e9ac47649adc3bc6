"""What a power sensor states about its figures before anybody uses them."""

from __future__ import annotations

from dataclasses import dataclass

BOARD, RAIL, PACKAGE, CHIP, CARD = "board", "rail", "package", "chip and memory", "card"
SCOPES = (BOARD, RAIL, PACKAGE, CHIP, CARD)
BOXCAR_BANDWIDTH = 0.443  # of a mean over T: half the power is left at 0.443 / T


@dataclass(frozen=True)
class Contract:
    scope: str  # one of SCOPES
    covers: str  # what exactly it measures
    rate_hz: float  # new readings a second, at most
    bandwidth_hz: float  # what changes faster is averaged away (-3 dB)
    clock: str  # whose clock stamps a reading
    overhead: str  # what a reading costs the board
    counts_energy: bool = False  # the hardware adds up joules itself; else watts are integrated

    @property
    def period_s(self) -> float:
        return 1 / self.rate_hz


def mean_bandwidth_hz(window_s: float) -> float:
    """Of readings that are means over `window_s`."""
    return BOXCAR_BANDWIDTH / window_s
