"""One lease at a time, by rules simple enough to be written down twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from edgetran_daemon.measuring.lease import (
    LONGEST_TTL_S,
    MOST_WAITING,
    SHORTEST_TTL_S,
    Lease,
    Leases,
    Queued,
)
from edgetran_protos.errors import BoardBusy, BoardError, LeaseLost, UsageError
from hypothesis import given, settings
from hypothesis import strategies as st

TTL_S = 10.0
steps = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "renew", "release", "admit", "wait", "restart"]),
        st.integers(0, 4),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(steps)
def test_any_course_of_events_keeps_the_rules(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("lease") / "lease-token"
    now_s = [0.0]
    leases = Leases(path, lambda: now_s[0])
    held, until_s, last = 0, 0.0, 0  # the model
    for what, number in made:
        free = held == 0 or now_s[0] >= until_s
        good = not free and number == held
        if what == "wait":
            now_s[0] += 3 * number
        elif what == "restart":
            leases, held = Leases(path, lambda: now_s[0]), 0
        elif what == "acquire" and free:
            lease = leases.acquire("me", TTL_S)
            assert lease.token == last + 1, "always a larger one, restarts included"
            held = last = lease.token
            until_s = now_s[0] + TTL_S
        elif what == "acquire":
            with pytest.raises(BoardBusy, match="me"):
                leases.acquire("you", TTL_S)
        elif what == "admit" and (good or (free and number == 0)):
            leases.admit(number)
        elif what == "admit":
            with pytest.raises(LeaseLost if number else BoardBusy):
                leases.admit(number)
        elif good and what == "renew":
            assert leases.renew(number).token == number
            until_s = now_s[0] + TTL_S
        elif good:
            leases.release(number)
            held = 0
        else:
            with pytest.raises(LeaseLost):
                (leases.renew if what == "renew" else leases.release)(number)


@pytest.mark.parametrize("ttl_s", [-1.0, SHORTEST_TTL_S / 2, LONGEST_TTL_S + 1, float("nan")])
def test_a_time_to_live_has_limits(tmp_path: Path, ttl_s: float) -> None:
    leases = Leases(tmp_path / "lease-token")
    with pytest.raises(UsageError):
        leases.acquire("me", ttl_s)
    assert leases.acquire("me").ttl_s > 0, "and what was refused is not held"


def test_who_waits_for_the_end_hears_of_it_and_not_of_renewals(tmp_path: Path) -> None:
    async def work() -> None:
        leases = Leases(tmp_path / "lease-token")
        lease = leases.acquire("me", SHORTEST_TTL_S)
        ended = asyncio.ensure_future(leases.ended(lease.token))
        for _ in range(4):
            await asyncio.sleep(SHORTEST_TTL_S / 2)
            leases.renew(lease.token)
        assert not ended.done()
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(ended, 20)
        second = leases.acquire("you", LONGEST_TTL_S)
        ended = asyncio.ensure_future(leases.ended(second.token))
        await asyncio.sleep(0)
        leases.release(second.token)
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(ended, 20)

    asyncio.run(work())


def test_a_file_that_holds_no_token_is_not_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / "lease-token"
    path.write_text("seven")
    with pytest.raises(BoardError) as caught:
        Leases(path)
    assert str(path) in str(caught.value)
    path.write_text("7")
    assert Leases(path).acquire("me").token == 8


def test_the_queue_is_bounded_and_who_leaves_is_gone(tmp_path: Path) -> None:
    async def work() -> None:
        leases = Leases(tmp_path / "lease-token")
        held = leases.acquire("me", LONGEST_TTL_S)
        waiting = [leases.wait(f"{n}", 0.0, 0, lambda: True) for n in range(MOST_WAITING)]
        for ahead, one in enumerate(waiting):
            assert await one.__anext__() == Queued(
                ahead, "me", pytest.approx(LONGEST_TTL_S, rel=0.1)
            )
        late = leases.wait("late", 0.0, 9, lambda: True)
        with pytest.raises(BoardBusy, match=str(MOST_WAITING)):
            await late.__anext__()
        await waiting.pop(0).aclose()
        assert [holder for holder, _, _ in leases.queue()][:2] == ["1", "2"]
        leases.release(held.token)
        with pytest.raises(BoardBusy, match="wait"):
            leases.acquire("who slips in")
        with pytest.raises(BoardBusy):
            leases.admit(0)
        lease = await waiting.pop(0).__anext__()
        assert isinstance(lease, Lease)
        assert lease.holder == "1"
        for one in waiting:
            await one.aclose()
        assert leases.queue() == []

    asyncio.run(work())


def test_no_stream_of_urgent_ones_keeps_a_patient_one_waiting_for_ever(tmp_path: Path) -> None:
    async def work() -> None:
        now_s = [0.0]
        leases = Leases(tmp_path / "lease-token", lambda: now_s[0])
        leases.acquire("me", LONGEST_TTL_S)
        waiting = [leases.wait("patient", 0.0, 0, lambda: True)]
        await waiting[0].__anext__()
        for minute in (5, 15, 25):
            now_s[0] = 60.0 * minute
            waiting.append(leases.wait(f"urgent {minute}", 0.0, 2, lambda: True))
            await waiting[-1].__anext__()
        order = [holder for holder, _, _ in leases.queue()]
        assert order == ["urgent 5", "urgent 15", "patient", "urgent 25"]
        for one in waiting:
            await one.aclose()

    asyncio.run(work())


def test_who_waits_comes_when_the_lease_runs_out_or_the_board_is_done(tmp_path: Path) -> None:
    async def work() -> None:
        leases = Leases(tmp_path / "lease-token")
        leases.acquire("hung", SHORTEST_TTL_S)
        busy = [True]
        events = leases.wait("you", 0.0, 0, lambda: not busy[0])
        assert isinstance(await events.__anext__(), Queued)
        while leases.held is not None:
            assert isinstance(await events.__anext__(), Queued)
        busy[0] = False
        leases.look_again()
        found = await events.__anext__()
        while isinstance(found, Queued):
            found = await events.__anext__()
        assert found.holder == "you"

    asyncio.run(work())


def test_who_waits_does_not_hold_up_a_daemon_that_stops(tmp_path: Path) -> None:
    async def work() -> None:
        leases = Leases(tmp_path / "lease-token")
        held = leases.acquire("me")
        events = leases.wait("you", 0.0, 0, lambda: True)
        assert await events.__anext__()
        following = asyncio.ensure_future(events.__anext__())
        await asyncio.sleep(0)
        leases.close()
        with pytest.raises(BoardError, match="stops") as caught:
            await following
        assert caught.value.hint
        assert leases.queue() == []
        assert leases.renew(held.token), "what is under way may come to its end"

    asyncio.run(work())
