"""Which child of a round is gone on with: what it gains for what it costs.

    grown:  (loss of the parent - loss) / (EPSILON + latency added, relative)
    pruned: latency saved, relative / (EPSILON + loss added), or without the divisor's loss
            where none was added
    by loss alone, whatever it costs: loss of the parent - loss

Source: the method's specification, section 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgetran_host.refine.node import PROBED, TRAINED, Node
from edgetran_host.refine.proposals import GROWING

EPSILON = 0.01


def winner(parent: Node, children: Sequence[Node], *, by_cost: bool = True) -> Node | None:
    """The best of those that were trained at all; the first of equals."""
    trained = [node for node in children if node.state in (PROBED, TRAINED)]
    return max(trained, key=lambda node: (gain(parent, node, by_cost), -node.number), default=None)


def gain(parent: Node, child: Node, by_cost: bool = True) -> float:
    """Higher is better; comparable among children of one mode."""
    added = (child.loss or 0.0) - (parent.loss or 0.0)
    if not by_cost:
        return -added
    slower = math.log(child.cost.latency_s / parent.cost.latency_s)
    if child.mode in GROWING:
        return -added / (EPSILON + max(slower, 0.0)) if added < 0 else -added
    return -slower / (EPSILON + max(added, 0.0))
