"""Evaluations side by side, each written down the moment it ends."""

from __future__ import annotations

import queue
import threading

from edgetran_protos.errors import EdgeTranError

from edgetran_host.cosearch.evaluator import Evaluation, Evaluator, Request
from edgetran_host.cosearch.history import History

LOOK_S = 0.2  # between looks for what ended, so that Ctrl-C and the clock are heard


class Evaluating:
    """A thread an evaluation; only the caller's thread writes to the history."""

    def __init__(self, evaluator: Evaluator, history: History) -> None:
        self._evaluator = evaluator
        self._history = history
        self._ended: queue.Queue[tuple[int, Evaluation | BaseException]] = queue.Queue()

    def start(self, number: int, request: Request, training_cost: float | None) -> None:
        """training_cost: what counts instead of the evaluator's own; None: that."""
        work = threading.Thread(
            target=self._work,
            args=(number, request, training_cost),
            name=f"trial-{number}",
            daemon=True,  # an interrupted search does not wait for what it can begin anew
        )
        work.start()

    def collect(self) -> bool:
        """Writes down what ended meanwhile; whether anything did. Waits LOOK_S at most.

        A pair that fails is written down as failed; what is no error of ours is raised.
        """
        try:
            ended = [self._ended.get(timeout=LOOK_S)]
        except queue.Empty:
            return False
        while not self._ended.empty():
            ended.append(self._ended.get())
        for number, found in sorted(ended, key=lambda one: one[0]):
            if isinstance(found, Evaluation):
                self._history.tell(number, found)
            elif isinstance(found, EdgeTranError):
                self._history.fail(number, f"{type(found).__name__}: {found}")
            else:
                raise found
        return True

    def _work(self, number: int, request: Request, training_cost: float | None) -> None:
        found: Evaluation | BaseException
        try:
            found = self._evaluator.evaluate(request)
            if training_cost is not None:
                found = Evaluation(found.outcome, training_cost, found.sources, found.details)
        except BaseException as exc:  # handed to the thread that waits
            found = exc
        self._ended.put((number, found))
