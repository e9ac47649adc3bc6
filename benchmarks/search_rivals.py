"""Search methods side by side: each asks an oracle for noisy outcomes, and knows nothing else.

A method is `method(session) -> None`: while `session.left`, it calls `session.value(pair)`, the
goal of one noisy measurement. All have the same moves, repairs and noise. A method that
needs a module which is not there says so when it is called.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import optuna
from edgetran_host.cosearch.goal import Goal
from edgetran_host.cosearch.layer_changes import resized, shaped
from edgetran_host.cosearch.moves import cross, step
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture, Layer
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

STARTS = 10  # designs before a method without a model of its own goes by what it saw
PATIENCE = 40  # evaluations without gain after which a local search starts elsewhere
TIED_SHARE = 1 / 3  # of a budget, in which a local search changes all layers alike
POPULATION, TOURNAMENT = 24, 6  # of regularised evolution
CROSSED = 0.25  # of evolution's children
WEIGHT = 4  # of a kind of head in Optuna's representation, at most


@dataclass
class Session:
    """One method's budget of measurements."""

    oracle: Oracle
    space: ProductSpace
    goal: Goal
    budget: int
    seed: int
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 1])  # the method's own
        self._noise = np.random.default_rng([self.seed, 2])

    @property
    def left(self) -> int:
        return self.budget - len(self.trials)

    def value(self, pair: Pair) -> float:
        if not self.left:
            raise ValueError("the budget is spent")
        (outcome,) = self.oracle.measure([pair], self._noise)
        self.trials.append(Trial(pair, outcome))
        return self.goal.value(pair.place, outcome)

    def draw(self, tied: bool) -> Pair:
        return self.space.sample(self.rng, 1, tied)[0]


Method = Callable[[Session], None]


def random_search(tied: bool) -> Method:
    def search(session: Session) -> None:
        while session.left:
            session.value(session.draw(tied))

    return search


def local_search(tied: bool) -> Method:
    """Steps from the best seen, kept where no worse. tied: first of all layers alike."""

    def search(session: Session) -> None:
        while session.left:
            starts = [session.draw(tied) for _ in range(min(STARTS, session.left))]
            value, best = max(((session.value(pair), pair) for pair in starts), key=_value)
            waited = 0
            while session.left and waited < PATIENCE:
                alike = tied and len(session.trials) < TIED_SHARE * session.budget
                scope = "all" if alike else "" if tied else "one"
                pair = _moved(best, session, scope)
                found = session.value(pair)
                waited = 0 if found > value else waited + 1
                if found >= value:
                    value, best = found, pair

    return search


def evolution(tied: bool) -> Method:
    """Regularised evolution (Real et al., 2019): the oldest dies, tournaments choose parents."""

    def search(session: Session) -> None:
        alive: list[tuple[float, Pair]] = []
        while session.left:
            if len(alive) < POPULATION:
                pair = session.draw(tied)
            else:
                pair = _moved(_winner(alive, session), session, "" if tied else "one")
                if session.rng.random() < CROSSED:
                    pair = cross(pair, _winner(alive, session), session.rng)
            alive.append((session.value(pair), pair))
            alive = alive[-POPULATION:]

    return search


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


def optuna_search(sampler: Callable[[int], optuna.samplers.BaseSampler], layered: bool) -> Method:
    """One tied block for half of the budget, then layer by layer, all that was seen told anew.

    layered: layer by layer from the start.
    """

    def search(session: Session) -> None:
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        whole = optuna.create_study(direction="maximize", sampler=sampler(session.seed + 1000))
        if not layered:
            tied = optuna.create_study(direction="maximize", sampler=sampler(session.seed))
            _ask_and_tell(tied, session, session.budget // 2, tied=True)
            every = _distributions(session.space, tied=False)
            for trial in tied.trials:
                params = _untied(trial.params, session.space)
                whole.add_trial(
                    optuna.trial.create_trial(params=params, distributions=every, value=trial.value)
                )
        _ask_and_tell(whole, session, session.left, tied=False)

    return search


Params = dict[str, int]


def _ask_and_tell(study: optuna.Study, session: Session, count: int, tied: bool) -> None:
    distributions = _distributions(session.space, tied)
    for _ in range(count):
        trial = study.ask(distributions)
        study.tell(trial, session.value(_decoded(trial.params, session.space, tied)))


def _distributions(space: ProductSpace, tied: bool) -> dict[str, BaseDistribution]:
    design = space.space

    def below(values: tuple[int, ...]) -> BaseDistribution:
        return IntDistribution(0, len(values) - 1)

    found: dict[str, BaseDistribution] = {
        "place": CategoricalDistribution(list(range(len(space.places)))),
        "layers": below(design.layer_counts),
    }
    for at in range(1 if tied else design.layer_counts[-1]):
        found[f"{at}.hidden"] = below(design.hidden_sizes)
        found[f"{at}.heads"] = below(design.head_counts)
        found |= {f"{at}.{kind}": IntDistribution(0, WEIGHT) for kind in design.head_kinds}
        found[f"{at}.depth"] = below(design.feed_forward_depths)
        for width in range(design.feed_forward_depths[-1]):
            found[f"{at}.width{width}"] = below(design.feed_forward_widths)
    return found


def _untied(params: Params, space: ProductSpace) -> Params:
    block = {name[2:]: value for name, value in params.items() if name.startswith("0.")}
    whole = {name: value for name, value in params.items() if "." not in name}
    layers = range(space.space.layer_counts[-1])
    return whole | {f"{at}.{name}": value for at in layers for name, value in block.items()}


def _decoded(params: Params, space: ProductSpace, tied: bool) -> Pair:
    count = space.space.layer_counts[params["layers"]]
    layers = tuple(_layer(params, 0 if tied else at, space) for at in range(count))
    return Pair(Architecture(layers), space.places[params["place"]])


def _layer(params: Params, at: int, space: ProductSpace) -> Layer:
    """Weights of kinds are made a multiset of the wanted size; all zero: the first kind."""
    design = space.space
    weights = [params[f"{at}.{kind}"] for kind in design.head_kinds]
    kinds = [kind for kind, weight in zip(design.head_kinds, weights) for _ in range(weight)]
    heads = resized(kinds or design.head_kinds[:1], design.head_counts[params[f"{at}.heads"]])
    depth = design.feed_forward_depths[params[f"{at}.depth"]]
    widths = [design.feed_forward_widths[params[f"{at}.width{one}"]] for one in range(depth)]
    return shaped(design, design.hidden_sizes[params[f"{at}.hidden"]], heads, widths)


def boshcode(session: Session) -> None:
    """Ours, imported when it is asked for."""
    designer_class = importlib.import_module("edgetran_host.cosearch.boshcode").Boshcode
    designer = designer_class(session.space, session.goal, session.seed)
    while session.left:
        for pair in designer.suggest(1):
            session.value(pair)
            designer.update(session.trials[-1:])


def _sampler(name: str, **options: object) -> Callable[[int], optuna.samplers.BaseSampler]:
    return lambda seed: getattr(optuna.samplers, name)(seed=seed, **options)


SAMPLERS = {
    "random": _sampler("RandomSampler"),
    "tpe": _sampler("TPESampler", multivariate=True),
    "gp": _sampler("GPSampler", n_startup_trials=STARTS),
    "nsga2": _sampler("NSGAIISampler", population_size=POPULATION),
    "cmaes": _sampler("CmaEsSampler"),  # needs `pip install cmaes`
}
METHODS: dict[str, Method] = {
    "boshcode": boshcode,
    "local_tied": local_search(tied=True),
    "local_untied": local_search(tied=False),
    "evolution_tied": evolution(tied=True),
    "evolution_untied": evolution(tied=False),
    "random": random_search(tied=False),
    "random_tied": random_search(tied=True),
    **{f"optuna_{name}_tied": optuna_search(one, False) for name, one in SAMPLERS.items()},
    **{f"optuna_{name}_layers": optuna_search(one, True) for name, one in SAMPLERS.items()},
}
DEFAULT = (
    *("boshcode", "local_tied", "local_untied", "evolution_tied", "evolution_untied"),
    *("random", "random_tied"),
)
