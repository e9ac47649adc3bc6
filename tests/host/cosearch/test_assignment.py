"""What each fidelity trains, and what it costs."""

from __future__ import annotations

import dataclasses

import pytest
from edgetran_host.cosearch.assignment import FULL, SHORT, TRANSFER, Assignment, training
from edgetran_host.cosearch.assignment import training_cost as cost
from edgetran_host.training.recipes import EFFORTS
from edgetran_protos.errors import UsageError


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("rows", [500, 100_000])
def test_a_full_training_is_one(effort: str, rows: int) -> None:
    assert cost(effort, TRANSFER, rows) == 0.0
    assert cost(effort, SHORT, rows) + cost(effort, FULL, rows) == pytest.approx(1.0)
    assert 0 < cost(effort, SHORT, rows) < cost(effort, FULL, rows)
    assert cost(effort, SHORT, 100_000) < cost(effort, SHORT, 500)  # a trial reads few of many


def test_the_seed_of_a_training_is_the_request_s() -> None:
    recipe, rows = training("quick", SHORT, 7)
    assert (recipe.seed, rows) == (7, EFFORTS["quick"].trial_rows)
    assert training("quick", FULL, 7)[1] is None
    with pytest.raises(UsageError, match="'transfer' trains nothing"):
        training("quick", TRANSFER, 0)


def test_boards_have_no_say_in_the_teacher() -> None:
    one = Assignment("intents", targets=("nano",))
    assert one.job() == dataclasses.replace(one, targets=("rpi4",), precisions=("int8",)).job()
    assert one.job() != dataclasses.replace(one, random_seed=1).job()
