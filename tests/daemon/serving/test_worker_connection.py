"""Questions on their way to a worker, whose end of the socket the test holds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from edgetran_daemon.serving.worker_connection import SHORT_RUN_S, Answer, WorkerConnection
from edgetran_daemon.worker import wire
from edgetran_protos.errors import RuntimeFault

LIMIT_S = 30.0
A_MOMENT_S = 0.05  # to show that nothing comes


class WorkerEnd:
    """Reads questions, and answers with their own tensor."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def number(self) -> int:
        """Of the next question."""
        length, _ = wire.read_prefix(await self._reader.readexactly(wire.PREFIX.size))
        layout = wire.read_header(await self._reader.readexactly(length))
        tensors = wire.unpack_tensors(layout, await self._reader.readexactly(layout.size_bytes))
        return int(tensors["x"][0])

    async def nothing(self) -> bool:
        try:
            await asyncio.wait_for(self._reader.readexactly(1), A_MOMENT_S)
        except asyncio.TimeoutError:
            return True
        return False

    def answer(self, number: int, run_s: float) -> None:
        frame = wire.pack({"ok": True}, {"x": np.array([number])}, run_s)
        self._writer.write(b"".join(frame))

    def hang_up(self) -> None:
        self._writer.close()


def between(work: Callable[[WorkerConnection, WorkerEnd], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(WorkerConnection, sock=ours)
        end = WorkerEnd(*await asyncio.open_connection(sock=theirs))
        try:
            return await asyncio.wait_for(work(connection, end), 20)
        finally:
            connection.close()
            end.hang_up()

    return asyncio.run(run())


def ask(connection: WorkerConnection, number: int) -> asyncio.Future[Answer]:
    return connection.ask({"op": "run"}, {"x": np.array([number])}, LIMIT_S)


async def numbers(*answers: asyncio.Future[Answer]) -> list[int]:
    return [int((await one).tensors["x"][0]) for one in answers]


@pytest.mark.parametrize("run_s", [SHORT_RUN_S / 2, SHORT_RUN_S * 2])
def test_the_next_question_lies_ready_when_runs_are_short(run_s: float) -> None:
    async def work(connection: WorkerConnection, end: WorkerEnd) -> None:
        answers = [ask(connection, number) for number in range(4)]
        assert await end.number() == 0
        assert await end.nothing(), "nobody knows yet how long a run takes"
        end.answer(0, run_s)
        assert await end.number() == 1
        if run_s < SHORT_RUN_S:
            assert await end.number() == 2
        assert await end.nothing()
        end.answer(1, run_s)
        if run_s >= SHORT_RUN_S:
            assert await end.number() == 2
        end.answer(2, run_s)
        assert await end.number() == 3
        end.answer(3, run_s)
        assert await numbers(*answers) == [0, 1, 2, 3]
        for phases in [(await one).phases for one in answers]:
            assert phases.infer_s == run_s
            assert min(phases.queue_s, phases.input_s) >= 0

    between(work)


def test_who_left_is_not_computed_or_at_least_not_answered() -> None:
    async def work(connection: WorkerConnection, end: WorkerEnd) -> None:
        first = ask(connection, 0)
        assert await end.number() == 0
        end.answer(0, SHORT_RUN_S / 2)
        await first
        answers = [ask(connection, number) for number in range(1, 5)]
        assert [await end.number(), await end.number()] == [1, 2]
        answers[1].cancel()  # it lies in the socket
        answers[2].cancel()  # it waits
        for number in (1, 2):
            end.answer(number, SHORT_RUN_S / 2)
        assert await end.number() == 4
        end.answer(4, SHORT_RUN_S / 2)
        assert await numbers(answers[0], answers[3]) == [1, 4]

    between(work)


def test_it_is_quiet_when_the_last_question_is_answered_though_its_caller_left() -> None:
    async def work(connection: WorkerConnection, end: WorkerEnd) -> None:
        await connection.quiet()
        ask(connection, 0).cancel()
        waiting = ask(connection, 1)
        quiet = asyncio.ensure_future(connection.quiet())
        for number in (0, 1):
            assert await end.number() == number
            assert not quiet.done()
            end.answer(number, 1.0)
        assert await numbers(waiting) == [1]
        await quiet

    between(work)


def test_all_hear_of_a_worker_that_hung_up() -> None:
    async def work(connection: WorkerConnection, end: WorkerEnd) -> None:
        answers = [ask(connection, number) for number in range(3)]
        end.hang_up()
        for answer in answers:
            with pytest.raises(ConnectionError):
                await answer
        with pytest.raises(ConnectionError):
            await ask(connection, 3)
        await connection.quiet()

    between(work)


def test_a_limit_counts_from_a_questions_turn() -> None:
    async def work(connection: WorkerConnection, end: WorkerEnd) -> None:
        silent = asyncio.Event()
        connection.on_silence = silent.set
        patient = ask(connection, 0)
        hasty = connection.ask({"op": "run"}, {"x": np.array([1])}, 2 * A_MOMENT_S)
        assert await end.number() == 0
        await asyncio.sleep(4 * A_MOMENT_S)
        assert not hasty.done()
        end.answer(0, 1.0)
        assert await numbers(patient) == [0]
        with pytest.raises(RuntimeFault, match="did not answer"):
            await hasty
        await silent.wait()

    between(work)
