"""The published co-search: its objective, its networks' moments, its optimiser, its designer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from edgetran_host.cosearch.legacy import gobi
from edgetran_host.cosearch.legacy.designer import LegacyBoshcode
from edgetran_host.cosearch.legacy.moments import MomentLinear, Moments, relu, sigmoid
from edgetran_host.cosearch.legacy.performance import performance
from edgetran_host.cosearch.legacy.surrogate import Surrogate
from edgetran_host.cosearch.outcome import Outcome, Trial
from edgetran_host.cosearch.space import ProductSpace
from edgetran_protos.errors import UsageError
from torch.nn.functional import softplus

from tests.host.cosearch.toy_world import PLACES, SPACE, search

WITH_SENSORS = ProductSpace(SPACE, PLACES[:2])


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(1.0, 0.0, 0.0, 0.0, 0.0), 1.0),
        (Outcome(0.0, 1000.0, 2000.0, 300.0, 0.0), 0.0),
        (Outcome(0.8, 10.0, 50.0, 30.0, 1e8), 0.4 + 0.198 + 0.195 + 0.09),
    ],
)
def test_the_published_objective(outcome: Outcome, expected: float) -> None:
    pair = WITH_SENSORS.sample(np.random.default_rng(0), 1, tied=True)[0]
    assert performance(Trial(pair, outcome)) == pytest.approx(expected)


def test_it_needs_a_board_with_sensors() -> None:
    with pytest.raises(UsageError, match="energy and peak power of home-made"):
        search(LegacyBoshcode(ProductSpace(SPACE, PLACES[2:]), 0, starts=1), 2)


@pytest.mark.parametrize(("layer", "within"), [(relu, 1e-2), (sigmoid, 3e-2)])
def test_activations_match_the_moments_of_samples(
    layer: Callable[[Moments], Moments], within: float
) -> None:
    torch.manual_seed(0)
    mean, variance = torch.tensor([[-2.0, -0.3, 0.0, 1.0, 3.0]]), torch.tensor([[0.5]])
    drawn = mean + variance.sqrt() * torch.randn(200_000, 1)
    sampled = torch.relu(drawn) if layer is relu else torch.sigmoid(drawn)
    found = layer((mean, variance.expand_as(mean)))
    torch.testing.assert_close(found[0][0], sampled.mean(0), atol=within, rtol=0)
    torch.testing.assert_close(found[1][0], sampled.var(0), atol=within, rtol=0)


def test_a_layer_matches_the_moments_of_sampled_weights() -> None:
    torch.manual_seed(0)
    layer = MomentLinear(3, 2)
    with torch.no_grad():
        layer.weight_variance.fill_(0.3)
        layer.bias_variance.fill_(-1.0)
    mean, variance = torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([[0.1, 0.4, 0.2]])
    count = 1_000_000
    inputs = mean + variance.sqrt() * torch.randn(count, 3)
    weights = layer.weight + softplus(layer.weight_variance).sqrt() * torch.randn(count, 2, 3)
    bias = layer.bias + softplus(layer.bias_variance).sqrt() * torch.randn(count, 2)
    sampled = torch.einsum("noi,ni->no", weights, inputs) + bias
    found = layer((mean, variance))
    torch.testing.assert_close(found[0][0], sampled.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(found[1][0], sampled.var(0), atol=0, rtol=0.02)


def test_the_first_step_is_half_of_newtons() -> None:
    """Whatever the signs are, where the Hessian is diagonal."""
    x = torch.tensor([3.0, -2.0, 1.0], requires_grad=True)
    optimizer = gobi.AdaHessian([x], torch.Generator().manual_seed(0))
    optimizer.learn((torch.tensor([1.0, 10.0, 100.0]) * x**2).sum())
    optimizer.step()
    torch.testing.assert_close(x.detach(), torch.tensor([1.5, -1.0, 0.5]), atol=1e-3, rtol=0)


def test_a_descent_ends_at_the_least_value_of_the_box() -> None:
    target = torch.tensor([0.4, 5.0, -3.0])
    end = gobi.descend(
        lambda x: ((x - target) ** 2).sum(),
        torch.tensor([4.0, 0.0, 2.0]),
        torch.tensor([-9.0, -9.0, 0.0]),
        torch.tensor([9.0, 4.0, 9.0]),
        seed=1,
    )
    torch.testing.assert_close(end, torch.tensor([0.4, 4.0, 0.0]), atol=0.1, rtol=0)


def test_the_surrogate_learns_what_is_plain() -> None:
    rng = torch.Generator().manual_seed(0)
    design = 3 * torch.rand(60, 2, generator=rng)
    place = torch.eye(2)[torch.randint(0, 2, (60,), generator=rng)]
    y = 0.1 + 0.2 * design[:, 0] + 0.2 * place[:, 1]
    surrogate = Surrogate(2, 2, seed=0)
    surrogate.fit(design, place, y, seed=1)
    with torch.no_grad():
        found = torch.stack([surrogate.teacher(design, place) for _ in range(50)]).mean(0)
    assert float(torch.corrcoef(torch.stack([found, y]))[0, 1]) > 0.9
    assert math.isfinite(float(surrogate.acquisition(design[:1], place[:1]).detach()))


def test_a_killed_search_goes_on_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetran_host.cosearch.legacy.surrogate.EPOCHS", 3)
    monkeypatch.setattr("edgetran_host.cosearch.legacy.gobi.STEPS", 8)
    trials = search(LegacyBoshcode(WITH_SENSORS, 4, starts=6), 14)
    assert len({trial.pair for trial in trials}) == 14
    assert all(WITH_SENSORS.contains(trial.pair) for trial in trials)
    again = LegacyBoshcode(WITH_SENSORS, 4, starts=6)
    again.update(trials[:13])
    assert again.suggest(1) == [trials[13].pair]
