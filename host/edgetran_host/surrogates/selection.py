"""Which effects a model uses: those that lower its error on designs it has not seen.

One rule for all boards. Rows of one design are never on both sides of a fold. Starting from
costs alone (a constant, for what is no sum of work), the effect that lowers the cross-validated
error most is added as long as it lowers it by GAIN and by more than the luck of these rows; an
effect is tried only where there are rows enough to learn it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgetran_host.surrogates.cost_model import Effects, Inputs, MeasureKind, fit_cost_model
from edgetran_host.surrogates.polling import find_polling

FOLDS = 10
FEW_FOLDS = 5  # where rows are many
MANY_ROWS = 400
CHOOSING_SEEDS = (0, 1)  # of the folds
JUDGING_SEED = 2  # other folds than those that chose: no luck of theirs in the interval
GAIN = 0.03  # of the error; less is not worth an effect
LUCK_SIGMAS = 0.5  # standard errors of the gain that may be luck of the rows
WORK_LUCK_SIGMAS = 1.0  # the same of two dozen costs in place of a constant
WRONG_ROW = 0.5  # errors above count as this much: wrong rows do not choose
ROWS_FOR = {"cliff": 30, "drift": 30, "residual": 40}


@dataclass(frozen=True)
class Choice:
    effects: Effects
    foretold: np.ndarray  # (n,) each row by a model that has not seen its design


def choose_effects(
    inputs: Inputs, values: np.ndarray, ids: Sequence[str], kind: MeasureKind
) -> Choice:
    """values (n,) > 0."""
    known: dict[Effects, np.ndarray] = {}

    def errors(effects: Effects) -> np.ndarray:
        if effects not in known:
            seeds = CHOOSING_SEEDS if len(values) < MANY_ROWS else CHOOSING_SEEDS[:1]
            found = [cross_validate(inputs, values, ids, effects, kind, seed) for seed in seeds]
            known[effects] = np.mean([clipped_errors(one, values) for one in found], axis=0)
        return known[effects]

    def better(one: Effects, than: Effects) -> bool:
        gain = errors(than) - errors(one)
        sigmas = LUCK_SIGMAS if than.work else WORK_LUCK_SIGMAS
        luck = sigmas * float(gain.std()) / math.sqrt(len(gain))
        return float(gain.mean()) > max(GAIN * float(errors(than).mean()), luck)

    polled = kind.is_polled and find_polling(values) is not None
    chosen = Effects(work=kind.is_sum)
    for stage in (_named, _residual) if kind.is_sum else (_any,):
        while further := list(stage(chosen, inputs, polled)):
            best = min(further, key=lambda effects: float(errors(effects).mean()))
            if not better(best, chosen):
                break
            chosen = best
    return Choice(chosen, cross_validate(inputs, values, ids, chosen, kind, JUDGING_SEED))


def cross_validate(
    inputs: Inputs,
    values: np.ndarray,
    ids: Sequence[str],
    effects: Effects,
    kind: MeasureKind,
    seed: int,
) -> np.ndarray:
    """(n,) predictions out of fold."""
    foretold = np.empty(len(values))
    count = FOLDS if len(values) < MANY_ROWS else FEW_FOLDS
    for held in folds(ids, seed, count):
        seen = ~held
        model = fit_cost_model(inputs.take(seen), values[seen], effects, kind)
        foretold[held] = model.predict(inputs.take(held))
    return foretold


def folds(ids: Sequence[str], seed: int, count: int) -> Iterator[np.ndarray]:
    """Masks (n,) of held-out rows, whole designs together."""
    designs = sorted(set(ids))
    order = np.random.default_rng(seed).permutation(len(designs))
    count = min(count, len(designs))
    fold_of = {designs[at]: place % count for place, at in enumerate(order)}
    mine = np.array([fold_of[identity] for identity in ids])
    for fold in range(count):
        yield mine == fold


def clipped_errors(foretold: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n,) shares."""
    found: np.ndarray = np.minimum(np.abs(foretold / values - 1), WRONG_ROW)
    return found


def _named(effects: Effects, inputs: Inputs, polled: bool) -> Iterator[Effects]:
    """With one named effect more."""
    rows = len(inputs.memory)
    if not effects.work:
        yield replace(effects, work=True)
    if polled and not effects.polled:
        yield replace(effects, polled=True)
    if not effects.cliff and effects.work and rows >= ROWS_FOR["cliff"]:
        yield replace(effects, cliff=True)
    known = int(np.isfinite(inputs.times).sum())
    if not effects.drift and known >= ROWS_FOR["drift"]:
        yield replace(effects, drift="added")
        yield replace(effects, drift="scaled")


def _residual(effects: Effects, inputs: Inputs, polled: bool) -> Iterator[Effects]:
    """What has no name: last, where named effects are to be expected."""
    if not effects.residual and len(inputs.memory) >= ROWS_FOR["residual"]:
        yield replace(effects, residual=True)


def _any(effects: Effects, inputs: Inputs, polled: bool) -> Iterator[Effects]:
    yield from _named(effects, inputs, polled)
    yield from _residual(effects, inputs, polled)
