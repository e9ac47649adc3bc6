"""Foretells the score of a design from designs that were trained, with intervals and a gate.

A Gaussian process on physical features of the architecture (`cosearch.features`), and on the
score of a cheap fidelity where one is given: the design with the seed's weights, say, before
any training. Every trained design is foretold by the others: scales are learnt without its
tenth of the designs, the process without itself. From these come the gate and the intervals,
value +/- w s with s the process's own deviation of an observation and w the conformal width
of the others' errors divided by s, so that intervals widen where little is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgetran_protos.errors import DataError

from edgetran_host.accuracy.gate import LEAST_DESIGNS, Gate, gate_of
from edgetran_host.accuracy.scored import ScoredDesign
from edgetran_host.cosearch.features import ArchitectureFeatures, Group
from edgetran_host.cosearch.gaussian_process import GaussianProcess, learn_scales
from edgetran_host.cosearch.pair_kernel import PairKernel
from edgetran_host.space.architecture import Architecture
from edgetran_host.surrogates.intervals import error_width

FOLDS = 10
MOST_LEFT_OUT = 64  # designs, evenly taken: the gate then costs seconds at any number
CHEAP = "cheap"


@dataclass(frozen=True)
class Foretold:
    """Of n designs, (n,) each."""

    value: np.ndarray
    low: np.ndarray  # of the 90 % interval of what a training would score
    high: np.ndarray


@dataclass(frozen=True)
class Fit:
    """What was learnt, beside the designs it was learnt of."""

    scales: np.ndarray  # `theta` of the kernel
    width: float  # of intervals, in deviations
    gate: Gate


class AccuracyPredictor:
    """`cheap` names the fidelity whose score is an input; None: the architecture alone."""

    def __init__(
        self,
        features: ArchitectureFeatures,
        designs: Sequence[ScoredDesign],
        cheap: str | None = None,
        known: Fit | None = None,
    ) -> None:
        """Fits itself, or goes on from a `known` fit. Raises DataError for a missing score."""
        self.designs = tuple(designs)
        self.cheap = cheap
        self.features = features
        scores = np.array([design.score for design in designs])
        given = None if cheap is None else np.array([_cheap(one, cheap) for one in designs])
        self._centre = 0.0 if given is None else float(np.mean(given))
        self._spread = 1.0 if given is None else float(np.std(given)) or 1.0
        groups = features.groups
        if cheap is not None:
            groups = (*groups, Group(CHEAP, groups[-1].stop, groups[-1].stop + 1))
        self._kernel = PairKernel(groups, with_places=False)
        if known is None and len(designs) < LEAST_DESIGNS:
            known = Fit(np.zeros(0), float("nan"), Gate(len(designs), *[float("nan")] * 3))
        if known is not None and not known.gate.passes:
            self.fit = known
            return
        x = self._rows([design.architecture for design in designs], given)
        self.fit = known or _fit(self._kernel, x, scores)
        self._process = GaussianProcess(self._kernel, self.fit.scales, x, scores)

    @property
    def gate(self) -> Gate:
        """Where it does not pass, `predict` raises: train the design instead."""
        return self.fit.gate

    def predict(
        self, architectures: Sequence[Architecture], cheap: np.ndarray | None = None
    ) -> Foretold:
        """cheap (n,): scores of the fidelity that it was fitted with.

        Raises DataError where it does not know, or where the cheap scores are missing.
        """
        if not self.gate.passes:
            raise DataError(
                f"scores cannot be foretold: {self.gate.describe()}",
                hint="train the design instead",
            )
        if (cheap is None) != (self.cheap is None):
            raise DataError(
                f"the predictor was fitted {'with' if self.cheap else 'without'} cheap scores",
                hint=f"give each design's score at {self.cheap!r}" if self.cheap else "give none",
            )
        value, deviation = _observation(self._process, self._rows(architectures, cheap))
        reach = self.fit.width * deviation
        return Foretold(value, value - reach, value + reach)

    def _rows(self, architectures: Sequence[Architecture], cheap: np.ndarray | None) -> np.ndarray:
        """(n, k), with cheap (n,) standardised as the last column."""
        rows = self.features.rows(architectures)
        if cheap is None:
            return rows
        return np.column_stack([rows, (cheap - self._centre) / self._spread])


def _fit(kernel: PairKernel, x: np.ndarray, scores: np.ndarray) -> Fit:
    left = np.unique(np.linspace(0, len(scores) - 1, MOST_LEFT_OUT).astype(int))
    value, deviation, mean = np.empty((3, len(left)))
    for fold in range(FOLDS):
        held = np.arange(fold, len(left), FOLDS)  # never empty, with LEAST_DESIGNS
        seen = np.delete(np.arange(len(scores)), left[held])
        scales = learn_scales(kernel, x[seen], scores[seen])
        for place in held:
            at = left[place]
            others = np.delete(np.arange(len(scores)), at)
            process = GaussianProcess(kernel, scales, x[others], scores[others])
            (value[place],), (deviation[place],) = _observation(process, x[at : at + 1])
            mean[place] = scores[others].mean()
    return Fit(
        scales=learn_scales(kernel, x, scores),
        width=error_width((scores[left] - value) / deviation),
        gate=gate_of(value, scores[left], mean),
    )


def _observation(process: GaussianProcess, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (n,) of another training's score, its noise included."""
    value, deviation = process.predict(x)
    return value, np.sqrt(deviation**2 + process.noise.min())


def _cheap(design: ScoredDesign, name: str) -> float:
    if name not in design.cheap:
        raise DataError(
            f"a design has no score at {name!r}",
            hint=f"it has {', '.join(design.cheap) or 'none'}; fit without, or score it",
        )
    return design.cheap[name]
