"""How alike two pairs are: what the Gaussian processes of a co-search assume.

    k = sum over groups g of u_g x_g.x'_g + v_g M(|x_g - x'_g| / l_g)
      + v_p exp(-|r - r'|^2 / 2) + [same place] (v_c + v_d x.x' + v_m M(|x - x'| / l_m))

M is Matern-5/2, x the standardised features of the design, r those of the place, products
divided by the number of columns and distances by its root. The second line is there where
outputs depend on the place: what a board does otherwise than its datasheet says is learnt a
board. Kernel and noise are one object of scikit-learn's, whose scales (u, v, l, noise) are
logarithms in `theta`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from edgetran_host.cosearch.features import Group

ROOT5 = np.sqrt(5.0)
# Priors of the logarithms for outputs of unit variance: (mean, standard deviation, bounds).
# Tight ones: a dozen trials cannot tell a dozen scales, and what they seem to tell is too sure.
NOISE = (np.log(0.02), 1.0, (-11.0, 0.7))
LINEAR = (np.log(1.0), 0.7, (-9.0, 4.0))
VARIANCE = (np.log(0.4), 0.7, (-9.0, 3.0))
LENGTH = (np.log(2.5), 0.5, (-1.5, 3.0))
ASIDE = (np.log(0.05), 0.7, (-9.0, 3.0))  # both variances of the groups that matter less
PLACE_NOISE = (np.log(0.1), 1.5, (-11.0, 0.7))
OF_PLACE = (np.log(0.1), 0.7, (-9.0, 4.0))
RESIDUAL = (np.log(0.05), 0.7, (-9.0, 3.0))
GROUPS_ASIDE = ("positions", "layers")
# Of a search's scores, which crowd where it looks: what differs there is small beside the whole.
STEEP = (np.log(4.0), 0.7, (-9.0, 4.0))
UNEVEN = (np.log(2.0), 0.7, (-9.0, 3.0))
SHORT = (np.log(1.2), 0.5, (-1.5, 3.0))
STEEP_ASIDE, UNEVEN_ASIDE = (np.log(0.6), 0.7, (-9.0, 4.0)), (np.log(0.1), 0.7, (-9.0, 3.0))

Prior = tuple[float, float, tuple[float, float]]


class PairKernel(Kernel):  # type: ignore[misc]
    """Rows are features of a design, then (with places) its place's number and features."""

    def __init__(self, groups: tuple[Group, ...], with_places: bool, scales: Any = None) -> None:
        self.groups = groups
        self.with_places = with_places
        self.scales = scales

    @property
    def priors(self) -> list[Prior]:
        found = [PLACE_NOISE if self.with_places else NOISE]
        for group in self.groups:
            aside = self.with_places or group.name in GROUPS_ASIDE
            found += [ASIDE, ASIDE, LENGTH] if aside else [LINEAR, VARIANCE, LENGTH]
        if self.with_places:
            found += [OF_PLACE, OF_PLACE, RESIDUAL, RESIDUAL, LENGTH]
        return found

    @property
    def hyperparameter_scales(self) -> Hyperparameter:
        bounds = np.exp([bounds for _, _, bounds in self.priors])
        return Hyperparameter("scales", "numeric", bounds, len(self.priors))

    def start(self) -> np.ndarray:
        """The middle of the priors."""
        return np.array([mean for mean, _, _ in self.priors])

    def diag(self, X: np.ndarray) -> np.ndarray:
        """(n,) without noise: the variance of what is behind the observations."""
        values = self.scales
        width = self.groups[-1].stop
        found = np.zeros(len(X))
        for group, (line, variance, _) in zip(self.groups, self._of_groups()):
            found += line * (X[:, group.columns] ** 2).mean(axis=1) + variance
        if self.with_places:
            _, constant, line, smooth, _ = values[-5:]
            straight = (X[:, :width] ** 2).mean(axis=1)
            found += values[-5] + constant + line * straight + smooth
        return np.asarray(found)

    def is_stationary(self) -> bool:
        return False

    def __call__(
        self, X: np.ndarray, Y: np.ndarray | None = None, eval_gradient: bool = False
    ) -> Any:
        """(n, m); with gradients by `theta` (n, n, scales). Noise only where Y is None."""
        values = self.scales
        other = X if Y is None else Y
        parts = self._parts(X, other, values, eval_gradient)
        found = np.sum([value for value, _ in parts], axis=0)
        if Y is None:
            found[np.diag_indices_from(found)] += values[0]
        if not eval_gradient:
            return found
        gradients = [values[0] * np.eye(len(X))]
        for value, by_length in parts:
            gradients.append(value)
            if by_length is not None:
                gradients.append(by_length)
        return found, np.stack(gradients, axis=2)

    def _of_groups(self) -> np.ndarray:
        """(groups, 3) of each: linear variance, Matern variance, length."""
        found: np.ndarray = self.scales[1 : 1 + 3 * len(self.groups)].reshape(-1, 3)
        return found

    def _parts(
        self, x: np.ndarray, y: np.ndarray, values: np.ndarray, with_gradient: bool
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Each term of the sum, and its derivative by the logarithm of its length if it has one.

        In the order of `priors`: a variance, then its length.
        """
        width = self.groups[-1].stop
        found: list[tuple[np.ndarray, np.ndarray | None]] = []
        for group, (line, variance, length) in zip(self.groups, self._of_groups()):
            one, other = x[:, group.columns], y[:, group.columns]
            found.append((line * _straight(one, other), None))
            found.append(_matern(_distance(one, other), variance, length, with_gradient))
        if self.with_places:
            alike, constant, line, smooth, length = values[-5:]
            same = (x[:, width, None] == y[None, :, width]).astype(float)
            apart = _distance(x[:, width + 1 :], y[:, width + 1 :])
            straight = _straight(x[:, :width], y[:, :width])
            distance = _distance(x[:, :width], y[:, :width])
            value, by_length = _matern(distance, smooth, length, with_gradient)
            found += [
                (alike * np.exp(-0.5 * apart**2), None),
                (constant * same, None),
                (line * same * straight, None),
                (value * same, None if by_length is None else by_length * same),
            ]
        return found


class ScoreKernel(PairKernel):
    """Wider priors, since neighbours of the best are told apart by what most designs share."""

    @property
    def priors(self) -> list[Prior]:
        found = [NOISE]
        for group in self.groups:
            aside = group.name in GROUPS_ASIDE
            found += [STEEP_ASIDE, UNEVEN_ASIDE, SHORT] if aside else [STEEP, UNEVEN, SHORT]
        return found


def _straight(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    found: np.ndarray = x @ y.T / x.shape[1]
    return found


def _distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    found: np.ndarray = cdist(x, y) / np.sqrt(x.shape[1])
    return found


def _matern(
    distance: np.ndarray, variance: float, length: float, with_gradient: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """variance (1 + s + s^2/3) exp(-s), s = root 5 distance / length; d/d log length."""
    s = distance * (ROOT5 / length)
    fall = variance * np.exp(-s)
    return (1 + s + s**2 / 3) * fall, (s**2 * (1 + s) / 3) * fall if with_gradient else None
