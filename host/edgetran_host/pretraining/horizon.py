"""How long a run goes on: a number of steps, or a time that the pace turns into steps.

By the clock, the number of steps to come is what is left of the time over the seconds a
step took of late. It is reckoned anew at every read-out, so that the learning rate
reaches zero when the time is up.
"""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN_STEPS = 10_000  # until a pace is known: warm-up has hardly begun by then
MEMORY = 0.8  # of the pace, a read-out


@dataclass
class Horizon:
    """elapsed_s counts all sittings; pace_s is of this one."""

    steps: int | None  # None: `seconds` decides
    seconds: float
    elapsed_s: float = 0.0
    pace_s: float = 0.0  # a step; 0: not known yet
    _warm: bool = False  # the first steps of a sitting are slower than all others

    def follow(self, steps: int, seconds: float, *, learning: bool = True) -> None:
        """`seconds` went by; `learning`: with so many steps, and nothing else."""
        self.elapsed_s += seconds
        if not learning:
            return
        if self._warm:
            fresh = seconds / steps
            self.pace_s = MEMORY * self.pace_s + (1 - MEMORY) * fresh if self.pace_s else fresh
        self._warm = True

    def total(self, done: int) -> int:
        """Steps of the whole run, as far as is known after `done` of them."""
        if self.steps is not None:
            return self.steps
        if not self.pace_s:
            return done + UNKNOWN_STEPS
        return done + max(0, round((self.seconds - self.elapsed_s) / self.pace_s))

    def over(self, done: int) -> bool:
        return done >= self.steps if self.steps is not None else self.elapsed_s >= self.seconds

    def share(self, done: int) -> float:
        """Of the run that is behind us."""
        return done / self.steps if self.steps is not None else self.elapsed_s / self.seconds
