"""What is said of a node: enough to see why it was chosen, or was not."""

from __future__ import annotations

from typing import Any

from edgetran_host.refine.node import OVER, TRAINED
from edgetran_host.refine.telling import changes, figures


def node(**different: Any) -> dict[str, Any]:
    cost = {"latency_s": 0.02, "energy_j": None, "size_bytes": 8e6, "modelled": True}
    usual = {"state": TRAINED, "score": 0.8, "served_loss": 0.1234, "cost": cost}
    return {**usual, **different}


def test_a_trained_node_says_its_loss() -> None:
    assert figures(node()) == ["80.00 %", "~20.00 ms", "8.00 MB", "loss 0.1234"]
    said = changes(node(score=0.81, served_loss=0.2), node())
    assert said == ["+1.00 points", "loss 0.2000", "latency +0.0 %", "size +0.0 %"]


def test_one_that_was_not_trained_has_none() -> None:
    said = changes(node(state=OVER, score=None, served_loss=None), node())
    assert said == ["latency +0.0 %", "size +0.0 %", OVER]
