"""GOBI: down the surrogate's gradient in its input, by a second-order optimiser.

AdaHessian scales a running mean of gradients by that of the Hessian's diagonal, which one
product with a random vector of signs estimates. The learning rate swings: .5, .25, 0, .25.
Source: the method's specification, section 7.2; Yao et al., "AdaHessian" (2021).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

RATE, MOMENTUM, MEMORY, SMALL = 0.5, 0.9, 0.999, 1e-4
PERIOD = 2  # steps from the full rate to none
STEPS = 200
STILL, STILL_STEPS = 1e-5, 5  # ends after more steps than these in a row that change no more


class AdaHessian(torch.optim.Optimizer):
    """`learn(loss)`, then `step()`."""

    def __init__(self, params: list[torch.Tensor], signs: torch.Generator) -> None:
        super().__init__(params, {"lr": RATE})
        self._signs = signs

    def learn(self, loss: torch.Tensor) -> None:
        """Takes in gradient and curvature; raises RuntimeError for a loss without a graph."""
        for x in self._all():
            (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
            sign = torch.randint(0, 2, x.shape, generator=self._signs) * 2.0 - 1.0
            (product,) = torch.autograd.grad(gradient @ sign, x, materialize_grads=True)
            state = self.state[x]
            old = state or {"steps": 0, "mean": torch.zeros_like(x), "square": torch.zeros_like(x)}
            state["steps"] = old["steps"] + 1
            state["mean"] = MOMENTUM * old["mean"] + (1 - MOMENTUM) * gradient.detach()
            state["square"] = MEMORY * old["square"] + (1 - MEMORY) * (sign * product) ** 2

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        rate = self.param_groups[0]["lr"]
        for x in self._all():
            state = self.state[x]
            mean = state["mean"] / (1 - MOMENTUM ** state["steps"])
            curvature = torch.sqrt(state["square"] / (1 - MEMORY ** state["steps"]))
            x -= rate * mean / (curvature + SMALL)

    def _all(self) -> list[torch.Tensor]:
        return [x for group in self.param_groups for x in group["params"]]


def descend(
    value: Callable[[torch.Tensor], torch.Tensor],
    start: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    seed: int,
) -> torch.Tensor:
    """start, low, high (d,) -> (d,) where `value` (of a (d,), a number) came to rest."""
    signs = torch.Generator().manual_seed(seed)
    x = start.clone().requires_grad_()
    optimizer = AdaHessian([x], signs)
    swing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=PERIOD)
    last, still = float("inf"), 0
    for _ in range(STEPS):
        found = value(x)
        optimizer.learn(found)
        optimizer.step()
        swing.step()
        with torch.no_grad():
            x.clamp_(low, high)
        now = float(found.detach())
        still = still + 1 if abs(last - now) < STILL else 0
        last = now
        if still > STILL_STEPS:
            break
    return x.detach()
