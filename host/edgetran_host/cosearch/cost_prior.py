"""What pairs cost by the work they do: the mean that the models of costs start from.

A cost is a constant and terms of work times costs that are not negative, so it goes on beyond
what was tried, where a process alone would fall back to its mean:

    y / y_ref = c + sum_k c_k x_k

fitted on all places at once, each cost by its reference, from a mixture of datasheets; then on
each place's own trials, from that. The trials themselves are foretold by fits without them, or
the processes on top would learn from what is too good.
"""

from __future__ import annotations

from collections.abc import Sequence

import edgetran_devices
import numpy as np

from edgetran_host.cosearch.goal import COSTS, Goal, costs
from edgetran_host.cosearch.layer_features import exact_terms
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.surrogates.cost_model import Inputs
from edgetran_host.surrogates.few_shot import Source, fit_mixed, sheets
from edgetran_host.surrogates.terms import ARCHITECTURE_TERMS

SUMS = ("latency_s", "energy_j")  # costs that grow with work
LEAST_TRIALS = 3  # fewer teach nothing
FOLDS = 5
LOWEST_SHARE = 0.5  # of the least that was seen: nothing is foretold to cost less

Costs = dict[Place | None, Source]
"""By place; None: any other, as shares of its reference."""


class CostPrior:
    """Of one set of trials. Called with pairs: (n, 4) as `goal.COSTS`, NaN: it knows nothing."""

    def __init__(self, trials: Sequence[Trial], goal: Goal) -> None:
        self._goal = goal
        self._terms = _terms([trial.pair for trial in trials])
        self._places = [trial.pair.place for trial in trials]
        self._costs = costs([trial.outcome for trial in trials])
        units = [unit for name in edgetran_devices.names() for unit in _units(name)]
        names = tuple(ARCHITECTURE_TERMS)
        self._sheets = {name: sheets(name, names, units) for name in SUMS}
        everything = np.ones(len(trials), bool)
        self._fits = {name: self._fit(name, everything) for name in SUMS}
        self.held_out = self._without_each()

    def __call__(self, pairs: Sequence[Pair]) -> np.ndarray:
        return self._foretold(self._fits, _terms(pairs), [pair.place for pair in pairs])

    def _without_each(self) -> np.ndarray:
        """(trials, 4) each foretold by a fit that has not seen it."""
        found = np.full((len(self._terms), len(COSTS)), np.nan)
        turns = np.arange(len(self._terms)) % FOLDS
        for fold in range(FOLDS):
            held = np.flatnonzero(turns == fold)
            fits = {name: self._fit(name, turns != fold) for name in SUMS}
            places = [self._places[at] for at in held]
            found[held] = self._foretold(fits, self._terms[held], places)
        return found

    def _fit(self, name: str, seen: np.ndarray) -> Costs:
        column = COSTS.index(name)
        seen = seen & np.isfinite(self._costs[:, column])
        if seen.sum() < LEAST_TRIALS:
            return {}
        references = np.array([self._reference(place, name) for place in self._places])
        values = self._costs[:, column]
        found: Costs = {}
        known = seen & np.isfinite(references)
        if known.sum() >= LEAST_TRIALS:
            found[None] = self._mixed(name, known, values / references, self._sheets[name])
        for place in dict.fromkeys(self._places):
            here = seen & np.array([one == place for one in self._places])
            if here.sum() >= LEAST_TRIALS:
                sources = [self._scaled(found[None], place, name)] if None in found else []
                found[place] = self._mixed(name, here, values, sources or self._sheets[name])
        return found

    def _mixed(
        self, name: str, rows: np.ndarray, values: np.ndarray, sources: Sequence[Source]
    ) -> Source:
        terms = self._terms[rows]
        nothing = np.zeros(len(terms))
        model = fit_mixed(name, Inputs(terms, nothing, nothing), values[rows], sources)
        return Source(model.constant, model.costs)

    def _foretold(
        self, fits: dict[str, Costs], terms: np.ndarray, places: Sequence[Place]
    ) -> np.ndarray:
        found = np.full((len(terms), len(COSTS)), np.nan)
        for name, by_place in fits.items():
            column = COSTS.index(name)
            for place in dict.fromkeys(places):
                rows = np.array([one == place for one in places])
                source = by_place.get(place)
                if source is None and None in by_place:
                    source = self._scaled(by_place[None], place, name)
                if source is not None:
                    seen = np.array([one == place for one in self._places], bool)
                    lowest = self._lowest(seen, column)
                    told = source.constant + terms[rows] @ source.costs
                    found[rows, column] = np.maximum(told, lowest)
        return found

    def _lowest(self, seen: np.ndarray, column: int) -> float:
        known = self._costs[seen, column]
        known = known[np.isfinite(known)]
        return LOWEST_SHARE * float(known.min()) if len(known) else 1e-12

    def _scaled(self, shares: Source, place: Place, name: str) -> Source:
        scale = self._reference(place, name)
        return Source(scale * shares.constant, scale * shares.costs)

    def _reference(self, place: Place, name: str) -> float:
        found: float | None = getattr(self._goal.reference(place), name)
        return np.nan if found is None else found


def _terms(pairs: Sequence[Pair]) -> np.ndarray:
    rows = [exact_terms(pair.architecture) for pair in pairs]
    return np.array(rows).reshape(-1, len(ARCHITECTURE_TERMS))


def _units(name: str) -> list[edgetran_devices.UnitModel]:
    return list(edgetran_devices.load_board(name).units.values())
