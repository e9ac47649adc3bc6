"""The process against the textbook, written out slowly, and scikit-learn's own kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from edgetran_host.cosearch.features import Group
from edgetran_host.cosearch.gaussian_process import GaussianProcess, learn_scales
from edgetran_host.cosearch.pair_kernel import PairKernel
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

GROUPS = (Group("one", 0, 2), Group("two", 2, 3))


def rows(count: int, seed: int, with_places: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    designs = rng.normal(size=(count, 3))
    if not with_places:
        return designs
    numbers = rng.integers(3, size=count)
    rates = rng.normal(size=(3, 2))
    return np.hstack([designs, numbers[:, None], rates[numbers]])


def kernel_of(with_places: bool, seed: int = 0) -> PairKernel:
    kernel = PairKernel(GROUPS, with_places)
    theta = kernel.start() + 0.5 * np.random.default_rng(seed).normal(size=len(kernel.priors))
    found: PairKernel = kernel.clone_with_theta(theta)
    return found


def matern(distance: float) -> float:
    s = math.sqrt(5) * distance
    return (1 + s + s * s / 3) * math.exp(-s)


def slow(one: np.ndarray, other: np.ndarray, kernel: PairKernel) -> float:
    """The formula of the module, term by term."""
    v = np.exp(kernel.theta)

    def far(start: int, stop: int) -> float:
        return math.sqrt(sum((one[i] - other[i]) ** 2 for i in range(start, stop)) / (stop - start))

    found = v[1] * (one[0] * other[0] + one[1] * other[1]) / 2 + v[2] * matern(far(0, 2) / v[3])
    found += v[4] * one[2] * other[2] + v[5] * matern(far(2, 3) / v[6])
    if kernel.with_places:
        found += v[7] * math.exp(-(far(4, 6) ** 2) / 2)
        if one[3] == other[3]:
            straight = sum(one[i] * other[i] for i in range(3)) / 3
            found += v[8] + v[9] * straight + v[10] * matern(far(0, 3) / v[11])
    return float(found)


@pytest.mark.parametrize("with_places", [False, True])
def test_the_kernel_is_its_formula(with_places: bool) -> None:
    kernel, x, y = kernel_of(with_places), rows(7, 1, with_places), rows(5, 2, with_places)
    expected = [[slow(one, other, kernel) for other in y] for one in x]
    assert kernel(x, y) == pytest.approx(np.array(expected))
    assert kernel.diag(x) == pytest.approx([slow(one, one, kernel) for one in x])
    noise = math.exp(kernel.theta[0])
    assert np.diag(kernel(x)) == pytest.approx(kernel.diag(x) + noise)


@pytest.mark.parametrize("with_places", [False, True])
def test_gradients_are_differences(with_places: bool) -> None:
    kernel, x = kernel_of(with_places), rows(6, 3, with_places)
    _, gradient = kernel(x, eval_gradient=True)
    for at in range(len(kernel.theta)):
        step = np.zeros(len(kernel.theta))
        step[at] = 1e-5
        above = kernel.clone_with_theta(kernel.theta + step)(x)
        below = kernel.clone_with_theta(kernel.theta - step)(x)
        assert gradient[:, :, at] == pytest.approx((above - below) / 2e-5, abs=1e-7)


def test_the_posterior_is_the_textbooks() -> None:
    kernel, x, new = kernel_of(True), rows(30, 4, True), rows(8, 5, True)
    y = np.random.default_rng(6).multivariate_normal(np.zeros(30), kernel(x)) * 3 + 7
    process = GaussianProcess(kernel, kernel.theta, x, y)
    scaled = (y - y.mean()) / y.std()
    gram = np.array([[slow(a, b, kernel) for b in x] for a in x]) + np.diag(
        process.noise / y.var() + 1e-8
    )
    cross = np.array([[slow(a, b, kernel) for b in x] for a in new])
    mean = cross @ np.linalg.inv(gram) @ scaled * y.std() + y.mean()
    own = np.array([slow(a, a, kernel) for a in new])
    variance = own - np.einsum("ij,jk,ik->i", cross, np.linalg.inv(gram), cross)
    found, deviation = process.predict(new)
    assert found == pytest.approx(mean)
    assert deviation == pytest.approx(np.sqrt(variance) * y.std() * process.widening, rel=1e-5)


def test_one_group_alone_is_scikit_learns_matern() -> None:
    x, new = rows(20, 7, False), rows(6, 8, False)
    y = np.sin(x[:, 0]) + x[:, 1]
    y = (y - y.mean()) / y.std()
    kernel = PairKernel((Group("all", 0, 3),), False)
    theta = np.log([0.01, 1e-12, 0.7, 1.2])
    own = GaussianProcess(kernel, theta, x, y)
    length = 1.2 * math.sqrt(3)  # ours are a root of the columns shorter
    theirs = GaussianProcessRegressor(
        ConstantKernel(0.7) * Matern(length, nu=2.5) + WhiteKernel(1e-12),
        alpha=own.noise + 1e-8,
        optimizer=None,
    ).fit(x, y)
    mean, deviation = theirs.predict(new, return_std=True)
    found = own.predict(new)
    assert found[0] == pytest.approx(mean, abs=1e-6)
    assert found[1] == pytest.approx(deviation * own.widening, abs=1e-5)


def test_a_row_that_the_others_contradict_counts_less() -> None:
    x = rows(30, 9, False)
    y = x @ np.array([1.0, -2.0, 0.5])
    kernel = PairKernel(GROUPS, False)
    theta = learn_scales(kernel, x, y + 0.05 * np.random.default_rng(1).normal(size=30))
    wrong = y + 0.05 * np.random.default_rng(1).normal(size=30)
    wrong[4] += 6.0
    process = GaussianProcess(kernel, theta, x, wrong)
    assert process.noise.argmax() == 4
    assert process.noise[4] > 10 * np.median(process.noise)


def test_what_is_learnt_foretells_new_rows_and_how_far_off_that_is() -> None:
    rng = np.random.default_rng(10)
    x = rng.normal(size=(240, 3))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * 0.5 + 0.1 * rng.normal(size=240)
    kernel = PairKernel(GROUPS, False)
    process = GaussianProcess(kernel, learn_scales(kernel, x[:120], y[:120]), x[:120], y[:120])
    mean, deviation = process.predict(x[120:])
    error = y[120:] - mean
    assert np.sqrt((error**2).mean()) < 0.25 * y.std()
    typical = np.sqrt(deviation**2 + np.median(process.noise))
    assert 0.8 < np.mean(np.abs(error) < 1.645 * typical) <= 1.0


def test_one_row_or_equal_outputs_are_no_trouble() -> None:
    kernel, x = PairKernel(GROUPS, False), rows(4, 11, False)
    for count in (1, 4):
        y = np.full(count, 2.5)
        theta = learn_scales(kernel, x[:count], y)
        mean, deviation = GaussianProcess(kernel, theta, x[:count], y).predict(x)
        assert mean == pytest.approx(np.full(4, 2.5))
        assert (deviation > 0).all()
