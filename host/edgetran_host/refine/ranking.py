"""Which child of a round is gone on with: what it gains for what it costs.

    cost    weighed mean of the logarithms of latency, energy and bytes, each against the parent's
    grown   (loss of the parent - loss) / (EPSILON + cost added)
    pruned  cost saved / (EPSILON + loss added), above the least of the parent and all children of
            the round: those have learnt a little more than it, and are compared among them
    another precision: what makes the objective better than the parent's, and most

By loss alone, whatever it costs: loss of the parent - loss.
Source: the method's specification, section 8, whose cost is latency; a vocabulary that is cut saves
bytes only.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgetran_host.refine.cycle import Worth, accuracy_of, value_of
from edgetran_host.refine.node import PROBED, TRAINED, Node
from edgetran_host.refine.proposals import CHANGE_PRECISION, GROWING
from edgetran_host.search.objective import WEIGHTS, weighed

EPSILON = 0.01


def winner(parent: Node, children: Sequence[Node], *, by_cost: bool = True) -> Node | None:
    """The best of those that were trained at all; the first of equals."""
    trained = [node for node in children if node.state in (PROBED, TRAINED)]
    worth = value_of if by_cost else accuracy_of
    least = min(node.loss or 0.0 for node in (parent, *trained))
    gains = {node.number: _gain(parent, node, worth, least) for node in trained}
    better = [node for node in trained if node.mode != CHANGE_PRECISION or gains[node.number] > 0]
    return max(better, key=lambda node: (gains[node.number], -node.number), default=None)


def _gain(parent: Node, child: Node, worth: Worth, least: float) -> float:
    """Higher is better; comparable among children of one round, whose least loss is `least`."""
    if child.mode == CHANGE_PRECISION:  # nothing is trained that could make up for it
        return (worth(child) or 0.0) - (worth(parent) or 0.0)
    added = (child.loss or 0.0) - (parent.loss or 0.0)
    if worth is accuracy_of:
        return -added
    dearer = weighed(child.cost, parent.cost) / WEIGHTS
    if child.mode in GROWING:
        return -added / (EPSILON + max(dearer, 0.0)) if added < 0 else -added
    return -dearer / (EPSILON + (child.loss or 0.0) - least)
