"""How well a surrogate foretells rows that it may not have seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from edgetran_protos.errors import DataError

from edgetran_host.surrogates.rows import Rows
from edgetran_host.surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Score:
    """Errors are shares."""

    mape: float  # mean absolute percentage error
    median_ape: float
    spearman: float | None  # of ranks; None: a constant has none
    coverage_90: float  # share of rows inside their 90 % interval
    n: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def score(surrogate: Surrogate, rows: Rows) -> dict[str, Score]:
    """By measure that both have. Raises DataError."""
    found = {}
    for name, foretold in surrogate.predict(rows).items():
        values = rows.measures[name]
        known = np.isfinite(values)
        if not known.any():
            continue
        value, measured = foretold.value[known], values[known]
        errors = np.abs(value / measured - 1)
        within = (foretold.low[known] <= measured) & (measured <= foretold.high[known])
        found[name] = Score(
            mape=float(errors.mean()),
            median_ape=float(np.median(errors)),
            spearman=_rank_correlation(value, measured),
            coverage_90=float(within.mean()),
            n=int(known.sum()),
        )
    if not found:
        raise DataError("no measure that both the rows and the surrogate have")
    return found


def _rank_correlation(one: np.ndarray, two: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(two) == 0:
        return None
    return float(spearmanr(one, two).statistic)
