"""A forest as the model of a search, as scikit-optimize has it.

Extremely randomised trees on sizes of the design, of its layers' means and of every layer at
its relative depth; a query is the best by expected improvement, or by an upper bound, in turn,
of a pool of random pairs and of moves from the best trials.
"""

from __future__ import annotations

import numpy as np
from edgetran_host.cosearch.moves import step
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import HEAD_KINDS, Layer
from scipy.stats import norm
from search_session import Method, Session

STARTS = 10
TREES = 100
PARENTS, MOVES, RANDOM = 5, 60, 200  # of a pool: moves from each of the best, random pairs
KAPPA = 1.96  # deviations of the upper bound
DEPTHS = 12  # relative depths


def forest(tied: bool) -> Method:
    """tied: moves of any scope and pairs of one repeated block; else layer by layer."""

    def search(session: Session) -> None:
        values: list[float] = []
        while session.left and len(values) < STARTS:
            values.append(session.value(session.draw(tied)))
        while session.left:
            values.append(session.value(_query(session, np.array(values), tied)))

    return search


def _query(session: Session, values: np.ndarray, tied: bool) -> Pair:
    from sklearn.ensemble import ExtraTreesRegressor  # of the training extra

    seen = [trial.pair for trial in session.trials]
    trees = ExtraTreesRegressor(
        TREES, min_samples_leaf=2, random_state=int(session.rng.integers(2**31))
    ).fit(encoded(seen, session.space), values)
    pool = session.space.sample(session.rng, RANDOM, tied)
    for at in np.argsort(-values)[:PARENTS]:
        pool += _moves(seen[at], session, tied)
    pool = list(dict.fromkeys(pair for pair in pool if pair not in set(seen)))
    rows = encoded(pool, session.space).astype(np.float32)
    each = np.array([tree.predict(rows) for tree in trees.estimators_])
    mean, deviation = each.mean(axis=0), each.std(axis=0) + 1e-9
    if len(values) % 2:
        return pool[int((mean + KAPPA * deviation).argmax())]
    z = (mean - values.max()) / deviation
    return pool[int((deviation * (z * norm.cdf(z) + norm.pdf(z))).argmax())]


def _moves(pair: Pair, session: Session, tied: bool) -> list[Pair]:
    scope = "" if tied else "one"
    return [step(pair, session.space, session.rng, scope) for _ in range(MOVES)]


def encoded(pairs: list[Pair], space: ProductSpace) -> np.ndarray:
    """(n, p): place, layers, means over layers, and the layer at each relative depth."""
    rows = []
    for pair in pairs:
        layers = np.array([_sizes(layer) for layer in pair.architecture.layers])
        at = np.arange(DEPTHS) * len(layers) // DEPTHS
        place = [float(pair.place == one) for one in space.places]
        rows.append([*place, len(layers), *layers.mean(axis=0), *layers[at].ravel()])
    return np.array(rows)


def _sizes(layer: Layer) -> list[float]:
    heads, stack = layer.heads, layer.feed_forward
    shares = [heads.count(kind) / len(heads) for kind in HEAD_KINDS]
    sizes = [layer.hidden, len(heads), len(stack), sum(stack)]
    return [*np.log(sizes), *shares, float(np.log(min(stack)))]
