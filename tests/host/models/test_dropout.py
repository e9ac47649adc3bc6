"""Dropout: how much it keeps, what it keeps, its slope, and that a seed repeats it."""

from __future__ import annotations

import math

import pytest
import torch
from edgetran_host.models.dropout import Dropout, dropped
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

ROWS, COLUMNS = 4096, 1024
SIGMAS = 5.0  # what a right share exceeds once in two million


def kept(rate: float, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return dropped(torch.ones(ROWS, COLUMNS), rate) != 0


@pytest.mark.parametrize("rate", [0.003, 0.1, 0.25, 0.5, 0.9])
class TestShare:
    def test_of_all(self, rate: float) -> None:
        found = kept(rate).double()
        sigma = math.sqrt(rate * (1 - rate) / found.numel())
        assert abs(float(found.mean()) - (1 - rate)) < 1e-5 + SIGMAS * sigma

    def test_of_every_place_in_a_draw(self, rate: float) -> None:
        """Four words share a draw; none is luckier."""
        sigma = math.sqrt(rate * (1 - rate) * 4 / (ROWS * COLUMNS))
        for share in kept(rate).double().view(-1, 4).mean(0):
            assert abs(float(share) - (1 - rate)) < 1e-5 + SIGMAS * sigma

    def test_sums_spread_as_those_of_independent_elements(self, rate: float) -> None:
        """Variance of sums over rows and over columns, where any dependence would show."""
        found = kept(rate).double()
        for axis, others in ((1, ROWS), (0, COLUMNS)):
            variance = float(found.sum(axis).var()) / (rate * (1 - rate) * found.shape[axis])
            assert abs(variance - 1) < SIGMAS * math.sqrt(2 / others)

    @pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 8, 16])
    def test_neighbours_do_not_tell(self, rate: float, lag: int) -> None:
        flat = kept(rate).double().flatten() - (1 - rate)
        correlation = float((flat[lag:] * flat[:-lag]).mean()) / (rate * (1 - rate))
        assert abs(correlation) < SIGMAS / math.sqrt(len(flat))

    def test_the_mean_stays(self, rate: float) -> None:
        """The scale is exact: what is kept, times it, is 1 on average by construction."""
        values = dropped(torch.ones(8192), rate).unique().tolist()
        assert values[0] == 0.0
        assert values[1:] == [pytest.approx(1 / (1 - round(rate * 2**16) / 2**16), rel=1e-6)]


@given(st.integers(1, 99), st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))
def test_clears_or_scales_and_passes_the_slope_alike(count: int, kind: torch.dtype) -> None:
    y = torch.randn(count, 3, dtype=kind).requires_grad_()
    found = dropped(y, 0.3)
    assert found.dtype == kind
    share = 1 - round(0.3 * 2**16) / 2**16
    keeps = found != 0
    exactness = {"rtol": 1e-2 if kind == torch.bfloat16 else 1e-6, "atol": 0.0}
    torch.testing.assert_close(found, torch.where(keeps, y / share, 0.0).to(kind), **exactness)
    slope = torch.randn_like(y)
    (through,) = torch.autograd.grad(found, y, slope)
    wanted = torch.where(keeps, slope / share, 0.0).to(kind)
    torch.testing.assert_close(through, wanted, **exactness)


def test_what_lies_crosswise_in_memory() -> None:
    y = torch.arange(1.0, 13.0).view(3, 4).t()
    found = dropped(y, 0.5)
    assert set(found[found != 0].tolist()) <= set((2 * y).flatten().tolist())
    assert bool(((found == 0) | (found == 2 * y)).all())


def test_a_seed_and_a_state_repeat_it() -> None:
    y = torch.ones(1000)
    torch.manual_seed(3)
    first, state = dropped(y, 0.1), torch.get_rng_state()
    second = dropped(y, 0.1)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(dropped(y, 0.1), second)
    torch.manual_seed(3)
    assert torch.equal(dropped(y, 0.1), first)
    torch.manual_seed(4)
    assert not torch.equal(dropped(y, 0.1), first)


def test_only_while_training() -> None:
    y, module = torch.randn(50), Dropout(0.5)
    state = torch.get_rng_state()
    assert module.eval()(y) is y
    assert dropped(y, 0.0) is y
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(module.train()(y), y)
