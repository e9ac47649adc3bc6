"""Where a refinement goes: every mode in turn, back when growing fails, and to an end."""

from __future__ import annotations

import random
from collections.abc import Callable

from edgetran_host.refine.cycle import (
    CYCLE,
    REALLOCATING,
    SHRINKING,
    Step,
    accuracy_of,
    best_node,
    next_step,
)
from edgetran_host.refine.node import OVER, ROOT, ROOT_MODE, TRAINED, Node, Round
from edgetran_host.refine.proposals import (
    CHANGE_PRECISION,
    GROW_FEED_FORWARD,
    GROW_HEADS,
    GROWING,
    PRUNE_FEED_FORWARD,
    PRUNE_HEADS,
    PRUNE_VOCABULARY,
)
from edgetran_host.refine.ranking import winner
from edgetran_host.search.objective import Cost
from edgetran_host.space.architecture import Architecture, Layer
from hypothesis import given
from hypothesis import strategies as st

PRUNING = tuple(mode for mode in CYCLE if mode not in GROWING)
SHAPE = Architecture((Layer(96, ("sa_sdp",), 16, (96,)),))


def node(
    number: int,
    parent: int | None,
    mode: str,
    value: float | None,
    loss: float = 0.0,
    latency_s: float = 1.0,
    size_bytes: float = 1e6,
) -> Node:
    return Node(
        number=number,
        parent=parent,
        mode=mode,
        what=f"edit {number}",
        architecture=SHAPE,
        weights=None,
        state=OVER if value is None else TRAINED,
        cost=Cost(latency_s, None, None, size_bytes, modelled=False),
        parameters=1,
        runtime="onnxruntime",
        precision="int8",
        pieces=4000,
        table_width=96,
        tokens_per_row=20.0,
        loss=None if value is None else loss,
        score=value,
        value=value,
    )


Value = Callable[[Step, Node], float | None]


def refined(
    value: Value, modes: tuple[str, ...] = CYCLE, most: int = 200
) -> tuple[dict[int, Node], list[Round], list[Step]]:
    """All rounds till the end, a child each; a value of None: the child breaks a limit."""
    nodes = {ROOT: node(ROOT, None, ROOT_MODE, 0.0)}
    rounds: list[Round] = []
    steps: list[Step] = []
    while len(rounds) < most and (step := next_step(nodes, rounds, modes)) is not None:
        steps.append(step)
        child = node(len(nodes), step.parent, step.mode, value(step, nodes[step.parent]))
        nodes[child.number] = child
        won = None if child.state == OVER else child.number
        rounds.append(Round(step.parent, step.mode, (child.number,), won))
    return nodes, rounds, steps


def test_while_it_gets_better_the_modes_come_in_turn_on_one_line() -> None:
    _, _, steps = refined(lambda step, parent: (parent.value or 0) + 1, most=10)
    assert [step.mode for step in steps] == [CYCLE[at % 4] for at in range(10)]
    assert [step.parent for step in steps] == list(range(10))


def test_a_pruned_child_is_gone_on_from_even_where_it_is_worse() -> None:
    def value(step: Step, parent: Node) -> float:
        return (parent.value or 0) + (3 if step.mode in GROWING else -1)

    _, _, steps = refined(value, most=8)
    assert [step.parent for step in steps] == list(range(8))


def test_growth_that_does_not_help_turns_back_to_the_best() -> None:
    """The first cycle gets better by pruning, the next growth does not."""
    values = iter([1.0, 2.0, 3.0, 4.0, 3.5])
    nodes, _, steps = refined(lambda step, parent: next(values, 0.0), most=6)
    assert [step.mode for step in steps[:5]] == [*CYCLE, GROW_HEADS]
    assert steps[5] == Step(4, GROW_FEED_FORWARD)  # node 4 is the best; its next mode
    assert best_node(nodes.values()).number == 4


def test_where_nothing_fits_the_budget_every_mode_is_tried_of_the_root_and_no_more() -> None:
    nodes, _, steps = refined(lambda step, parent: None)
    assert steps == [Step(ROOT, mode) for mode in CYCLE]
    assert best_node(nodes.values()).number == ROOT


def test_nothing_better_ends_it_by_patience() -> None:
    nodes, rounds, _ = refined(lambda step, parent: -1.0)
    assert best_node(nodes.values()).number == ROOT
    assert sum(one.mode in GROWING for one in rounds) == 5


def test_without_growth_the_last_mode_of_a_cycle_turns_back() -> None:
    """Two prunings a cycle, of which the second cycle's make nothing better."""
    values = iter([1.0, 2.0, 1.5, 1.0])
    _, _, steps = refined(lambda step, parent: next(values, 0.0), PRUNING, most=5)
    assert [step.parent for step in steps[:4]] == [0, 1, 2, 3]
    assert steps[4] == Step(2, PRUNE_FEED_FORWARD)  # node 2 is the best; its next mode


def test_whatever_it_costs_the_most_accurate_is_gone_on_with() -> None:
    cheap = node(1, 0, PRUNE_HEADS, 5.0, loss=0.5)
    accurate = node(2, 0, GROW_HEADS, -3.0, loss=0.2)
    assert best_node([cheap, accurate]) == cheap
    assert best_node([cheap, accurate], accuracy_of) == accurate


@given(st.integers(0, 10_000), st.sampled_from([CYCLE, SHRINKING, REALLOCATING, PRUNING]))
def test_it_ends_and_tries_nothing_twice(seed: int, modes: tuple[str, ...]) -> None:
    rng = random.Random(seed)

    def value(step: Step, parent: Node) -> float | None:
        return None if rng.random() < 0.2 else (parent.value or 0) + rng.gauss(0, 1)

    nodes, rounds, steps = refined(value, modes)
    assert len(set(steps)) == len(steps)
    for count in range(len(rounds)):  # what was known then says the same today
        assert next_step(nodes, rounds[:count], modes) == steps[count]
        assert steps[count].parent == ROOT or nodes[steps[count].parent].state == TRAINED


def test_what_grew_is_ranked_by_what_it_gains_for_its_latency() -> None:
    parent = node(0, None, ROOT_MODE, 0.0, loss=1.0)
    dear = node(1, 0, GROW_HEADS, 0.0, loss=0.90, latency_s=1.50)
    cheap = node(2, 0, GROW_HEADS, 0.0, loss=0.95, latency_s=1.01)
    worse = node(3, 0, GROW_HEADS, 0.0, loss=1.01, latency_s=0.99)
    assert winner(parent, [dear, cheap, worse]) == cheap
    assert winner(parent, [worse]) == worse  # there is no other


def test_what_was_pruned_is_ranked_by_what_it_saves_for_its_loss() -> None:
    parent = node(0, None, ROOT_MODE, 0.0, loss=1.0)
    gentle = node(1, 0, PRUNE_HEADS, 0.0, loss=1.01, latency_s=0.8)
    rough = node(2, 0, PRUNE_FEED_FORWARD, 0.0, loss=1.4, latency_s=0.7)
    broken = node(3, 0, PRUNE_HEADS, None)
    assert winner(parent, [broken, rough, gentle]) == gentle
    assert winner(parent, [broken]) is None
    assert winner(parent, [rough, gentle], by_cost=False) == gentle


def test_a_smaller_vocabulary_saves_bytes_only() -> None:
    parent = node(0, None, ROOT_MODE, 0.0, loss=1.0)
    half = node(1, 0, PRUNE_VOCABULARY, 0.0, loss=1.01, size_bytes=0.7e6)
    quarter = node(2, 0, PRUNE_VOCABULARY, 0.0, loss=1.04, size_bytes=0.6e6)
    assert winner(parent, [half, quarter]) == half


def test_children_that_all_learnt_more_than_their_parent_are_compared_among_them() -> None:
    parent = node(0, None, ROOT_MODE, 0.0, loss=1.0)
    half = node(1, 0, PRUNE_VOCABULARY, 0.0, loss=0.90, size_bytes=0.7e6)
    quarter = node(2, 0, PRUNE_VOCABULARY, 0.0, loss=0.99, size_bytes=0.6e6)
    assert winner(parent, [half, quarter]) == half


def test_another_precision_must_be_better_since_nothing_is_trained() -> None:
    parent = node(0, None, ROOT_MODE, 2.0, loss=1.0)
    worse = node(1, 0, CHANGE_PRECISION, 1.9, loss=1.0)
    better = node(2, 0, CHANGE_PRECISION, 2.1, loss=1.0)
    best = node(3, 0, CHANGE_PRECISION, 2.2, loss=1.0)
    assert winner(parent, [worse]) is None
    assert winner(parent, [worse, better, best]) == best


def test_by_loss_alone_latency_counts_for_nothing() -> None:
    parent = node(0, None, ROOT_MODE, 0.0, loss=1.0)
    slow = node(1, 0, GROW_HEADS, 0.0, loss=0.90, latency_s=9.0)
    quick = node(2, 0, GROW_HEADS, 0.0, loss=0.91, latency_s=1.0)
    assert winner(parent, [slow, quick]) == quick
    assert winner(parent, [slow, quick], by_cost=False) == slow
