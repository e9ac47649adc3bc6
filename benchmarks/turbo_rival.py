"""TuRBO-1 (Eriksson et al., 2019) on BoTorch's Gaussian process, Optuna's points made continuous.

Every integer is a number from 0 to 1, the place one number for each; a Gaussian process with a
length for each dimension, Thompson sampling within a box around the best that grows with
successes and shrinks with failures. `pip install -c constraints.txt botorch` brings what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from edgetran_protos.errors import UsageError
from optuna.distributions import IntDistribution
from optuna_rivals import decoded, distributions
from search_session import Method, Session

STARTS = 20
CANDIDATES = 1000
CHANGED = 20  # dimensions in which a candidate leaves the best one, about
LENGTH, LEAST, MOST = 0.8, 0.5**7, 1.6  # of the box's side
SUCCESSES = 3  # in a row, until the box grows
KEPT = 200  # trials the process is fitted to: the box's best


@dataclass
class Box:
    length: float = LENGTH
    won: int = 0
    lost: int = 0

    def learn(self, better: bool, patience: int) -> None:
        self.won, self.lost = (self.won + 1, 0) if better else (0, self.lost + 1)
        if self.won == SUCCESSES:
            self.length, self.won = min(MOST, 2 * self.length), 0
        elif self.lost == patience:
            self.length, self.lost = self.length / 2, 0


def turbo(tied: bool) -> Method:
    """Each time the box has shrunk away, it starts anew."""

    def search(session: Session) -> None:
        botorch = _botorch()
        while session.left:
            _one_box(session, tied, botorch)

    return search


def _botorch() -> ModuleType:
    try:
        import botorch
    except ImportError as exc:
        raise UsageError(
            "turbo needs BoTorch, which is not installed",
            hint="pip install -c constraints.txt botorch, or leave these methods out",
        ) from exc
    found: ModuleType = botorch
    return found


def _one_box(session: Session, tied: bool, botorch: ModuleType) -> None:
    box, size = Box(), Encoding(session.space, tied)
    x, y = np.zeros((0, size.width)), np.zeros(0)
    while session.left and box.length >= LEAST:
        if len(y) < STARTS:
            point = session.rng.random(size.width)
        else:
            point = _sampled(x, y, box, session, botorch)
        value = session.value(size.pair(point))
        if len(y) >= STARTS:
            box.learn(value > y.max() + 1e-3 * abs(y.max()), max(4, min(size.width, 20)))
        x, y = np.vstack([x, point]), np.append(y, value)


def _sampled(
    x: np.ndarray, y: np.ndarray, box: Box, session: Session, botorch: ModuleType
) -> np.ndarray:
    """The best candidate of one draw of the process."""
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.manual_seed(int(session.rng.integers(2**31)))
    kept = np.argsort(-y)[:KEPT]
    scaled = (y[kept] - y[kept].mean()) / (y[kept].std(ddof=1) or 1.0)
    inputs, targets = torch.tensor(x[kept]), torch.tensor(scaled)[:, None]
    model = SingleTaskGP(inputs, targets, outcome_transform=None)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    candidates = _candidates(x[y.argmax()], box, session.rng)
    with torch.no_grad():
        drawn = model.posterior(torch.tensor(candidates)).rsample()[..., 0].flatten()
    found: np.ndarray = candidates[int(drawn.argmax())]
    return found


def _candidates(best: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    inside = best + box.length * (rng.random((CANDIDATES, len(best))) - 0.5)
    moved = rng.random(inside.shape) < min(1.0, CHANGED / len(best))
    moved[np.arange(CANDIDATES), rng.integers(len(best), size=CANDIDATES)] = True
    return np.where(moved, np.clip(inside, 0, 1), best)


class Encoding:
    """Points of the unit cube as pairs."""

    def __init__(self, space: ProductSpace, tied: bool) -> None:
        self._space, self._tied = space, tied
        self._ranges = {
            name: one.high + 1
            for name, one in distributions(space, tied).items()
            if isinstance(one, IntDistribution)
        }
        self.width = len(space.places) + len(self._ranges)

    def pair(self, point: np.ndarray) -> Pair:
        places = len(self._space.places)
        params = {
            name: min(int(value * count), count - 1)
            for (name, count), value in zip(self._ranges.items(), point[places:])
        }
        params["place"] = int(point[:places].argmax())
        return decoded(params, self._space, self._tied)
