"""What a model's statistics say after requests that were answered, refused and hung up."""

from __future__ import annotations

import pytest
from edgetran_daemon.serving.statistics import Phases, Statistics
from hypothesis import given
from hypothesis import strategies as st

seconds = st.floats(0, 100)
executions = st.lists(
    st.tuples(st.integers(1, 4), st.builds(Phases, seconds, seconds, seconds, seconds))
)


@given(executions)
def test_sums_and_counts_are_those_of_a_plain_list(made: list[tuple[int, Phases]]) -> None:
    found = Statistics()
    for rows, phases in made:
        found.executed(rows, phases)
        found.answered(rows, phases)
    assert (found.executions, found.inferences) == (len(made), sum(rows for rows, _ in made))
    assert found.queue.count == len(made)
    assert found.queue.ns == sum(round(phases.queue_s * 1e9) for _, phases in made)
    for rows in {rows for rows, _ in made}:
        mine = [phases for other, phases in made if other == rows]
        compute = found.by_batch[rows]
        assert compute.infer.count == len(mine)
        assert compute.input.ns == sum(round(phases.input_s * 1e9) for phases in mine)
        assert compute.output.ns == sum(round(phases.output_s * 1e9) for phases in mine)
    assert sum(one.infer.ns for one in found.by_batch.values()) == found.compute.infer.ns


def test_a_request_succeeds_or_fails_once() -> None:
    found = Statistics()
    with found.request():
        pass
    assert (found.success.count, found.fail.count) == (1, 0)
    answered_ms = found.last_unix_ms
    assert answered_ms > 1e12
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), found.request():
            raise error
    assert (found.success.count, found.fail.count) == (1, 2)
    assert found.last_unix_ms == answered_ms
