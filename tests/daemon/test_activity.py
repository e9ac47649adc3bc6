"""Idleness is counted from the end of the last call, however many overlap."""

from __future__ import annotations

import pytest
from edgetran_daemon.activity import Activity


def test_idle_from_the_end_of_the_last_call() -> None:
    now_s = 100.0
    activity = Activity(lambda: now_s)
    now_s = 107.0
    assert (activity.busy, activity.idle_s) == (False, 7.0)
    with activity.call():
        with activity.call():
            now_s = 200.0
        assert (activity.busy, activity.idle_s) == (True, 0.0)
        now_s = 300.0
    assert (activity.busy, activity.idle_s) == (False, 0.0)
    now_s = 305.0
    assert activity.idle_s == 5.0


def test_a_call_that_fails_has_ended_too() -> None:
    activity = Activity(lambda: 0.0)
    with pytest.raises(RuntimeError), activity.call():
        raise RuntimeError
    assert not activity.busy
