"""Optuna's samplers as search methods: of one repeated block, of every layer, or first the one.

A pair is a point of integers: its place, its number of layers, and of a block or of every layer
indices of its sizes and a weight for each kind of head. Weights that do not add up stand for
proportions, so whatever a sampler draws is a pair of the space.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import optuna
from edgetran_host.cosearch.layer_changes import resized, shaped
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture, Layer
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from search_session import Method, Session

STARTS = 10  # of the Gaussian process's sampler; the others have their own
POPULATION = 24  # of NSGA-II
WEIGHT = 4  # of a kind of head, at most
FREED = 50  # evaluations of one repeated block, before every layer goes its way

Params = dict[str, int]
Sampler = Callable[[int], optuna.samplers.BaseSampler]


def optuna_search(sampler: Sampler, tied: int | None) -> Method:
    """tied: evaluations of one repeated block, then layer by layer, all that was seen told anew.

    None: one block for ever.
    """

    def search(session: Session) -> None:
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        block = _study(sampler(session.seed), session)
        while session.left and (tied is None or len(session.trials) < tied):
            _ask_and_tell(block, session, tied=True)
        if not session.left:
            return
        whole = _study(sampler(session.seed + 1000), session)
        every = distributions(session.space, tied=False)
        for trial in block.trials:
            whole.add_trial(
                optuna.trial.create_trial(
                    params=untied(trial.params, session.space),
                    distributions=every,
                    values=trial.values,
                )
            )
        while session.left:
            _ask_and_tell(whole, session, tied=False)

    return search


def _study(sampler: optuna.samplers.BaseSampler, session: Session) -> optuna.Study:
    if session.front:
        return optuna.create_study(directions=["minimize"] * 4, sampler=sampler)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _ask_and_tell(study: optuna.Study, session: Session, tied: bool) -> None:
    trial = study.ask(distributions(session.space, tied))
    pair = decoded(trial.params, session.space, tied)
    study.tell(trial, list(session.objectives(pair)) if session.front else session.value(pair))


def distributions(space: ProductSpace, tied: bool) -> dict[str, BaseDistribution]:
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


def untied(params: Params, space: ProductSpace) -> Params:
    block = {name[2:]: value for name, value in params.items() if name.startswith("0.")}
    whole = {name: value for name, value in params.items() if "." not in name}
    layers = range(space.space.layer_counts[-1])
    return whole | {f"{at}.{name}": value for at in layers for name, value in block.items()}


def decoded(params: Mapping[str, int], space: ProductSpace, tied: bool) -> Pair:
    count = space.space.layer_counts[params["layers"]]
    layers = tuple(_layer(params, 0 if tied else at, space) for at in range(count))
    return Pair(Architecture(layers), space.places[params["place"]])


def _layer(params: Mapping[str, int], at: int, space: ProductSpace) -> Layer:
    """Weights of kinds are made a multiset of the wanted size; all zero: the first kind."""
    design = space.space
    weights = [params[f"{at}.{kind}"] for kind in design.head_kinds]
    kinds = [kind for kind, weight in zip(design.head_kinds, weights) for _ in range(weight)]
    heads = resized(kinds or design.head_kinds[:1], design.head_counts[params[f"{at}.heads"]])
    depth = design.feed_forward_depths[params[f"{at}.depth"]]
    widths = [design.feed_forward_widths[params[f"{at}.width{one}"]] for one in range(depth)]
    return shaped(design, design.hidden_sizes[params[f"{at}.hidden"]], heads, widths)


def _sampler(name: str, **options: object) -> Sampler:
    return lambda seed: getattr(optuna.samplers, name)(seed=seed, **options)


SAMPLERS = {
    "random": _sampler("RandomSampler"),
    "tpe": _sampler("TPESampler", multivariate=True),
    "gp": _sampler("GPSampler", n_startup_trials=STARTS),
    "nsga2": _sampler("NSGAIISampler", population_size=POPULATION),
    "cmaes": _sampler("CmaEsSampler"),
}
REPRESENTATIONS = {"tied": None, "freed": FREED, "layers": 0}
OPTUNA: dict[str, Method] = {
    f"optuna_{name}_{representation}": optuna_search(sampler, tied)
    for name, sampler in SAMPLERS.items()
    for representation, tied in REPRESENTATIONS.items()
}
