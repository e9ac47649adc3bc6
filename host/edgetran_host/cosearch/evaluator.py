"""What a search asks of the world: what one pair gives, and what that cost to learn."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.space import ProductSpace

FIDELITIES = ("transfer", "short", "full")  # no training, a short distillation, all of it
SOURCES = ("measured", "modelled", "foretold", "assumed")


@dataclass(frozen=True)
class Request:
    pair: Pair
    fidelity: str = "short"  # one of FIDELITIES
    seed: int = 0  # of the training


@dataclass(frozen=True)
class Evaluation:
    """`sources` says of each field of the outcome how it came to be, one of SOURCES:

    measured on a real board, modelled by an emulated one, foretold by a surrogate, or
    assumed by an oracle.
    """

    outcome: Outcome
    training_cost: float  # of it, in full trainings; less where weights were inherited
    sources: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)  # plain data: intervals, folders


class Evaluator(abc.ABC):
    """An assumed truth, or training and boards. Callers may ask from several threads."""

    @property
    @abc.abstractmethod
    def product(self) -> ProductSpace:
        """The pairs that may be asked for."""

    @abc.abstractmethod
    def references(self) -> Mapping[Place, Outcome]:
        """The reference design on every place, evaluated when it was not yet."""

    @abc.abstractmethod
    def evaluate(self, request: Request) -> Evaluation:
        """Raises BoardError when a board is lost, DataError when a training diverged.

        The outcome's score is None when costs alone rule the pair out and nothing was trained.
        """
