"""Whether a predictor of scores knows more than their mean; if not, it must not be asked.

Leaving out each of n designs in turn: root mean square error of what the others foretell,
the same of the others' mean, and Spearman's correlation of ranks.
Source: the method's specification, section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_DESIGNS = 12  # of 150 shuffled sets of 6, 8, 12 and 16 designs 5, 3, 2 and 2 % passed
MOST_ERROR = 0.8  # of the constant's
LEAST_SPEARMAN = 0.6


@dataclass(frozen=True)
class Gate:
    """Errors are in the unit of the score; NaN where there were too few designs to ask."""

    designs: int
    error: float
    constant_error: float
    spearman: float

    @property
    def passes(self) -> bool:
        return (
            self.designs >= LEAST_DESIGNS
            and self.error < MOST_ERROR * self.constant_error
            and self.spearman >= LEAST_SPEARMAN
        )

    def describe(self) -> str:
        if self.designs < LEAST_DESIGNS:
            return f"{self.designs} trained designs, at least {LEAST_DESIGNS} are needed"
        ratio = self.error / self.constant_error if self.constant_error else float("inf")
        return (
            f"leaving out each of {self.designs} designs, the others foretell it with"
            f" {ratio:.2f} times the error of their mean (below {MOST_ERROR} is needed)"
            f" and a rank correlation of {self.spearman:.2f} (from {LEAST_SPEARMAN})"
        )


def gate_of(foretold: np.ndarray, scores: np.ndarray, means: np.ndarray) -> Gate:
    """All (n,): by the other designs, true, and the other designs' mean."""
    from scipy.stats import spearmanr

    varied = len(scores) > 1 and np.ptp(foretold) > 0 and np.ptp(scores) > 0
    return Gate(
        designs=len(scores),
        error=_root_mean_square(foretold - scores),
        constant_error=_root_mean_square(means - scores),
        spearman=float(spearmanr(foretold, scores).statistic) if varied else 0.0,
    )


def _root_mean_square(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).mean()))
