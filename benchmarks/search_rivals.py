"""Search methods side by side: each asks an oracle for noisy outcomes, and knows nothing else.

All have the same moves, repairs and noise. What a method does never depends on its budget, so
a longer run begins as a shorter one does. Tied methods change all layers alike, or hold one
block that is repeated; those called `freed` do so for some evaluations and go on with every
layer by itself. A method that needs a package which is not there says so when it is called.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgetran_host.cosearch.boshcode import Boshcode
from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.inheriting import training_costs
from edgetran_host.cosearch.moves import cross, step
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair
from forest_rival import forest
from optuna_rivals import OPTUNA
from search_session import Method, Session, valued
from turbo_rival import turbo

STARTS = 10  # designs before a method without a model of its own goes by what it saw
PATIENCE = 40  # evaluations without gain after which a local search starts elsewhere
TIED = 100  # evaluations in which a local search changes all layers alike, its best of several
POPULATION, TOURNAMENT = 24, 6  # of regularised evolution
CROSSED = 0.25  # of evolution's children


def random_search(tied: bool) -> Method:
    def search(session: Session) -> None:
        while session.left:
            session.outcome(session.draw(tied))

    return search


def local_search(scope: str, tied: int = 0) -> Method:
    """Steps from the best seen, kept where no worse; the first `tied` of all layers alike.

    scope: of the steps, as `moves.step` has it.
    """

    def search(session: Session) -> None:
        while session.left:
            value, best = _start(session, tied=tied > 0 or scope != "one")
            waited = 0
            while session.left and waited < PATIENCE:
                alike = len(session.trials) < tied
                pair = _moved(best, session, "all" if alike else scope)
                found = session.value(pair)
                waited = 0 if found > value else waited + 1
                if found >= value:
                    value, best = found, pair

    return search


def _start(session: Session, tied: bool) -> tuple[float, Pair]:
    """The best of a few random pairs."""
    found: list[tuple[float, Pair]] = []
    while session.left and len(found) < STARTS:
        pair = session.draw(tied)
        found.append((session.value(pair), pair))
    return max(found, key=_value)


def evolution(tied: bool) -> Method:
    """Regularised evolution (Real et al., 2019): the oldest dies, tournaments choose parents."""

    def search(session: Session) -> None:
        alive: list[tuple[float, Pair]] = []
        while session.left:
            if len(alive) < POPULATION:
                pair = session.draw(tied)
            else:
                pair = _child([_winner(alive, session) for _ in range(2)], session, tied)
            alive.append((session.value(pair), pair))
            alive = alive[-POPULATION:]

    return search


def front_search(scope: str, tied: int = 0, alive: int | None = None) -> Method:
    """A step from the trial that is best by weights drawn anew each time (Chebyshev's).

    alive: only the last so many trials have children, as in regularised evolution.
    """

    def search(session: Session) -> None:
        points: list[np.ndarray] = []
        while session.left:
            if len(points) < (alive or STARTS):
                pair = session.draw(tied > 0 or scope != "one")
            else:
                living = range(max(0, len(points) - (alive or len(points))), len(points))
                parents = [
                    session.trials[living[at]].pair
                    for at in _best_of(np.array([points[one] for one in living]), session, 2)
                ]
                alike = len(session.trials) < tied
                pair = _moved(parents[0], session, "all" if alike else scope)
                if alive and session.rng.random() < CROSSED:
                    pair = cross(pair, parents[1], session.rng)
            points.append(session.objectives(pair))

    return search


def _best_of(points: np.ndarray, session: Session, count: int) -> list[int]:
    """points (n, 4), lower is better: the best by each of `count` random weights."""
    least, most = points.min(axis=0), points.max(axis=0)
    scaled = (points - least) / np.maximum(most - least, 1e-12)
    weights = session.rng.dirichlet(np.ones(points.shape[1]), size=count)
    return [int((scaled * one).max(axis=1).argmin()) for one in weights]


def _child(parents: Sequence[Pair], session: Session, tied: bool) -> Pair:
    pair = _moved(parents[0], session, "" if tied else "one")
    crossed = session.rng.random() < CROSSED
    return cross(pair, parents[1], session.rng) if crossed else pair


def _value(entry: tuple[float, Pair]) -> float:
    return entry[0]


def _winner(alive: list[tuple[float, Pair]], session: Session) -> Pair:
    drawn = session.rng.choice(len(alive), TOURNAMENT, replace=False)
    return max((alive[at] for at in drawn), key=_value)[1]


def _moved(pair: Pair, session: Session, scope: str) -> Pair:
    """One step that leads elsewhere."""
    while (found := step(pair, session.space, session.rng, scope)) == pair:
        pass
    return found


def boshcode(session: Session) -> None:
    """Ours; told what trainings cost where they are counted."""
    counted = None if session.most is None else training_costs
    _designed(
        Boshcode(
            session.space,
            session.goal,
            session.seed,
            training_cost=counted,
            whole_front=session.front,
        ),
        session,
    )


def legacy(session: Session) -> None:
    """BOSHCODE as published; its values have to lie within 0 and 1."""
    from edgetran_host.cosearch.legacy.designer import LegacyBoshcode

    def value(trial: Trial) -> float:
        return float(1 / (1 + np.exp(-valued(session.goal, trial.pair, trial.outcome))))

    _designed(LegacyBoshcode(session.space, session.seed, value=value), session)


def _designed(designer: Designer, session: Session) -> None:
    while session.left:
        for pair in designer.suggest(1):
            session.outcome(pair)
            designer.update(session.trials[-1:])


METHODS: dict[str, Method] = {
    "boshcode": boshcode,
    "legacy": legacy,
    "local_tied": local_search("", tied=TIED),
    "local_untied": local_search("one"),
    "evolution_tied": evolution(tied=True),
    "evolution_untied": evolution(tied=False),
    "random": random_search(tied=False),
    "random_tied": random_search(tied=True),
    "forest_tied": forest(tied=True),  # needs scikit-learn
    "forest_untied": forest(tied=False),
    "turbo_tied": turbo(tied=True),  # needs botorch
    "turbo_untied": turbo(tied=False),
    **OPTUNA,  # cmaes needs cmaes
}
FRONT_METHODS: dict[str, Method] = {  # where a whole front is sought
    "boshcode": boshcode,
    "local_tied": front_search("", tied=TIED),
    "local_untied": front_search("one"),
    "evolution_tied": front_search("", tied=1, alive=POPULATION),
    "evolution_untied": front_search("one", alive=POPULATION),
    "random": METHODS["random"],
    "random_tied": METHODS["random_tied"],
    **{name: OPTUNA[name] for name in OPTUNA if "cmaes" not in name and "_gp_" not in name},
}
DEFAULT = (
    *("boshcode", "local_tied", "local_untied", "evolution_tied", "evolution_untied"),
    *("random", "random_tied"),
)
