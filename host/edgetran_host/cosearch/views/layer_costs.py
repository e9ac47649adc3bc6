"""Which layers cost what: shares of a design's latency or energy, foretold by sums of work.

    y = c + sum over layers j, terms k of c_k x_jk + what stands around the layers

c are costs of the terms on one place, fitted on the search's own trials there, from a mixture
of datasheets (`surrogates.few_shot`). No board was asked layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import edgetran_devices
import numpy as np

from edgetran_host.cosearch.goal import COSTS, costs
from edgetran_host.cosearch.layer_features import TABLES, exact_terms, layer_terms
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.space.architecture import Architecture
from edgetran_host.surrogates.cost_model import Inputs
from edgetran_host.surrogates.few_shot import fit_mixed, sheets
from edgetran_host.surrogates.terms import ARCHITECTURE_TERMS

SUMS = ("latency_s", "energy_j")  # costs that grow with work
LEAST_TRIALS = 4  # of a place


@dataclass(frozen=True)
class LayerCosts:
    """In the cost's unit; they add up to `foretold`."""

    cost: str  # one of SUMS
    constant: float  # the process, whatever the design
    around: float  # embedding, steps between widths, pooler
    layers: tuple[float, ...]
    foretold: float
    trials: int  # of the place, that it was fitted on


def layer_costs(pair: Pair, trials: Sequence[Trial]) -> list[LayerCosts]:
    """One a cost of which the place gave enough."""
    here = [trial for trial in trials if trial.pair.place == pair.place]
    terms = np.array([exact_terms(trial.pair.architecture) for trial in here])
    known = costs([trial.outcome for trial in here])
    found = []
    for name in SUMS:
        values = known[:, COSTS.index(name)]
        rows = np.isfinite(values)
        if rows.sum() >= LEAST_TRIALS:
            nothing = np.zeros(rows.sum())
            units = [unit for one in edgetran_devices.names() for unit in _units(one)]
            sources = sheets(name, tuple(ARCHITECTURE_TERMS), units)
            model = fit_mixed(name, Inputs(terms[rows], nothing, nothing), values[rows], sources)
            found.append(_told(name, pair, model.constant, model.costs, int(rows.sum())))
    return found


def split_terms(architecture: Architecture) -> np.ndarray:
    """(l + 1, terms) each layer's own, and what stands around them; together the design's."""
    each = np.array([layer_terms(layer) for layer in architecture.layers])
    each[:, TABLES] = 0.0
    around = exact_terms(architecture) - each.sum(axis=0)
    return np.vstack([each, around])


def _told(name: str, pair: Pair, constant: float, of_terms: np.ndarray, trials: int) -> LayerCosts:
    *layers, around = (split_terms(pair.architecture) @ of_terms).tolist()
    whole = constant + around + sum(layers)
    return LayerCosts(name, constant, around, tuple(layers), whole, trials)


def _units(name: str) -> list[edgetran_devices.UnitModel]:
    return list(edgetran_devices.load_board(name).units.values())
