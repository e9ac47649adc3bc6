"""The interface of every search method: which pairs to try next, after what was seen."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np

from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair


class Designer(abc.ABC):
    """It knows the space and past trials, never the board.

    What it suggests follows from its seed, the trials and what is pending, so a search that
    was killed goes on alike once its trials are told again. Callers use `suggest` and
    `update`; a method writes `_suggest`.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.trials: list[Trial] = []
        self.pending: list[Pair] = []  # suggested, not told yet
        self.reason = ""  # of the last suggestion, in a few words; a method may write it
        self.failed: list[Pair] = []  # gave nothing, and will not

    def suggest(self, count: int = 1) -> list[Pair]:
        """`count` different pairs, none told or pending; fewer when the space has no more."""
        found: list[Pair] = []
        for _ in range(count):
            pair = self._suggest(self._rng())
            if pair is None:
                break
            self.pending.append(pair)
            found.append(pair)
        return found

    def update(self, trials: Sequence[Trial]) -> None:
        """Trials nobody asked for are welcome too."""
        self.trials.extend(trials)
        told = {trial.pair for trial in trials}
        self.pending = [pair for pair in self.pending if pair not in told]

    def retell(self, trials: Sequence[Trial]) -> None:
        """All trials anew, as when a longer training says more of a score than the one before."""
        self.trials.clear()
        self.update(trials)

    def draws(self, pairs: Sequence[Pair]) -> np.ndarray | None:
        """(s, n) what the goal may come to, -inf where a limit breaks; None: has no models."""
        return None

    def give_up(self, pair: Pair) -> None:
        """The pair gave nothing: its board was lost, its training diverged."""
        self.failed.append(pair)
        self.pending = [one for one in self.pending if one != pair]

    def taken(self) -> set[Pair]:
        """What must not be suggested again."""
        return {trial.pair for trial in self.trials} | set(self.pending) | set(self.failed)

    @abc.abstractmethod
    def _suggest(self, rng: np.random.Generator) -> Pair | None:
        """A pair that is not `taken`; None when there is none."""

    def _rng(self) -> np.random.Generator:
        """Anew for each suggestion, since a generator's state dies with the process."""
        ended = len(self.trials) + len(self.failed)
        return np.random.default_rng([self.seed, ended, len(self.pending)])
