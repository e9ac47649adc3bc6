"""The search methods by name: a visible table, whose modules are imported only when asked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.inheriting import Inheriting


@dataclass(frozen=True)
class Choice:
    """alpha, beta: shares of queries by uncertainty, and by chance; None: the method's own."""

    method: str = "boshcode"
    alpha: float | None = None
    beta: float | None = None
    random_seed: int = 0
    inheriting: Inheriting | None = None  # what trainings cost, where that is to be minded
    trainings: float | None = None  # of which there is a budget, in full ones

    def explore(self) -> dict[str, float]:
        """Those shares that were chosen."""
        given = {"alpha": self.alpha, "beta": self.beta}
        return {name: share for name, share in given.items() if share is not None}


def make_designer(choice: Choice, brief: Brief) -> Designer:
    """Raises UsageError for a name that is none, and for what the method cannot do."""
    check_method(choice)
    return METHODS[choice.method](choice, brief)


def check_method(choice: Choice) -> None:
    if choice.method not in METHODS:
        alike = difflib.get_close_matches(choice.method, METHODS, n=1)
        guess = f"did you mean {alike[0]!r}? " if alike else ""
        raise UsageError(
            f"no search method is called {choice.method!r}",
            hint=f"{guess}known: {', '.join(METHODS)}",
        )
    if choice.explore() and choice.method not in EXPLORING:
        raise UsageError(
            f"{choice.method} does not explore by alpha and beta",
            hint=f"{' and '.join(EXPLORING)} do",
        )


def _boshcode(choice: Choice, brief: Brief) -> Designer:
    from edgetran_host.cosearch.boshcode import Boshcode, Exploration

    return Boshcode(
        brief.product,
        brief.goal,
        choice.random_seed,
        exploration=Exploration(**choice.explore()),
        training_cost=choice.inheriting,
        trainings=choice.trainings,
        whole_front=brief.whole_front,
    )


def _local(choice: Choice, brief: Brief) -> Designer:
    from edgetran_host.cosearch.plain_methods import LocalSearch

    return LocalSearch(brief.product, brief.goal, choice.random_seed)


def _by_chance(choice: Choice, brief: Brief) -> Designer:
    from edgetran_host.cosearch.plain_methods import RandomSearch

    return RandomSearch(brief.product, choice.random_seed)


def _legacy(choice: Choice, brief: Brief) -> Designer:
    from edgetran_host.cosearch.legacy.designer import LegacyBoshcode

    return LegacyBoshcode(
        brief.product, choice.random_seed, alpha=choice.alpha or 0.0, beta=choice.beta or 0.0
    )


def _optuna(sampler: str) -> Callable[[Choice, Brief], Designer]:
    def make(choice: Choice, brief: Brief) -> Designer:
        from edgetran_host.cosearch.optuna_designer import OptunaDesigner

        return OptunaDesigner(brief.product, brief.goal, choice.random_seed, sampler)

    return make


METHODS: dict[str, Callable[[Choice, Brief], Designer]] = {
    "boshcode": _boshcode,
    "local": _local,
    "random": _by_chance,
    "legacy": _legacy,  # as published
    "optuna-tpe": _optuna("TPESampler"),
    "optuna-gp": _optuna("GPSampler"),
}
EXPLORING = ("boshcode", "legacy")
