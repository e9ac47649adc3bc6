"""How many measurements a board's surrogate needs: chosen ones, random ones, and the published way.

    python benchmarks/pool_of_designs.py --work POOL --rows POOL.json   # once, on a board
    python benchmarks/bench_active_learning.py --rows POOL.json --published DATA

Measured pools are replayed. Each seed leaves a fifth of a pool away and draws in another order.
After every measurement the median error of latency on designs nobody may ask for is taken; a
level counts as reached with the measurement from which on the error stays below it.
`chosen` is what `edgetran surrogate learn` does, `random` fits the same way what chance draws,
`rows alone` fits that without the datasheets' mixture. The published way is boosted trees on the
indices of the embedding; it measures where the trees disagree most.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_host.campaign.plan import Plan
from edgetran_host.learning.learner import MEASURE, Learner, fit_latency
from edgetran_host.measuring.profiling import Request
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.embedding import embed
from edgetran_host.surrogates.cost_model import CostModel, Effects, Inputs, fit_cost_model
from edgetran_host.surrogates.rows import Rows, rows_of
from edgetran_host.surrogates.surrogate import KINDS
from edgetran_host.surrogates.terms import SEQUENCE_LENGTH

PUBLISHED = {  # i.i.d. draws, and campaigns whose designs were chosen by others
    "A100": "campaign-2022-04/gpu-a100-template.json",
    "Pi 4": "campaign-2022-04/cpu-rpi4.json",
    "Nano CPU": "campaign-2022-04/cpu-jetson-nano.json",
    "M1 GPU": "campaign-2022-04/gpu-m1-pro.json",
}
FRESH = 50
MOST_CANDIDATES = 250
KEPT = 0.8  # of a pool, a seed
LEAST = 1
LEVELS = (0.10, 0.05, 0.03)
SHOWN = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40)
TREES = 50  # the paper has 500; more change the error by less than another seed does
TREE_LEAST = 3
TREE_START, TREE_DRAWN = 16, 64  # as published
NEVER = 10**6

Raw = list[dict[str, Any]]
Curve = dict[int, float]  # measurements -> median error


def chosen(pool: Raw, fresh: Rows, budget: int, seed: int) -> Curve:
    rng = np.random.default_rng(seed)
    kept = [pool[at] for at in rng.permutation(len(pool))[: round(KEPT * len(pool))]]
    designs = tuple(Architecture.from_dict(row["architecture"]) for row in kept)
    budget = min(budget, len(kept))
    plan = Plan(("pool",), designs, SEQUENCE_LENGTH, Request())
    learner = Learner(plan, budget, 1e-9, seed, rows_of([("pool", kept)]).terms)
    asked: list[int] = []
    found = {}
    while len(asked) < budget:
        asked.append(learner.choose(_rows(kept, asked) if asked else None, asked))
        if len(asked) >= LEAST:
            found[len(asked)] = _error(_rows(kept, asked), fresh)
    return found


def by_chance(pool: Raw, fresh: Rows, budget: int, seed: int) -> Curve:
    order = np.random.default_rng(seed).permutation(len(pool))[: round(KEPT * len(pool))]
    counts = range(LEAST, min(budget, len(order)) + 1)
    return {count: _error(_rows(pool, order[:count]), fresh) for count in counts}


def rows_alone(pool: Raw, fresh: Rows, budget: int, seed: int) -> Curve:
    order = np.random.default_rng(seed).permutation(len(pool))[: round(KEPT * len(pool))]
    counts = range(TREE_LEAST, min(budget, len(order)) + 1)
    return {count: _error(_rows(pool, order[:count]), fresh, _alone) for count in counts}


def published_way(pool: Raw, fresh: Rows, budget: int, seed: int) -> Curve:
    return _trees(pool, fresh, budget, seed, disagreement=True)


def trees_by_chance(pool: Raw, fresh: Rows, budget: int, seed: int) -> Curve:
    return _trees(pool, fresh, budget, seed, disagreement=False)


WAYS: dict[str, Callable[[Raw, Rows, int, int], Curve]] = {
    "chosen": chosen,
    "random": by_chance,
    "rows alone": rows_alone,
    "published way": published_way,
    "trees, random": trees_by_chance,
}


def _trees(pool: Raw, fresh: Rows, budget: int, seed: int, *, disagreement: bool) -> Curve:
    from sklearn.ensemble import AdaBoostRegressor
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pool))[: round(KEPT * len(pool))].tolist()
    points, held = _embedded(pool), np.array([_EMBEDDING[identity] for identity in fresh.ids])
    values = np.array([row["latency_s"] for row in pool])
    budget = min(budget, len(order))
    asked, found = order[: min(TREE_LEAST, budget)], {}
    while True:
        trees = AdaBoostRegressor(DecisionTreeRegressor(), n_estimators=TREES, random_state=seed)
        trees.fit(points[asked], values[asked])
        foretold = trees.predict(held)
        found[len(asked)] = float(np.median(np.abs(foretold / fresh.measures["latency_s"] - 1)))
        if len(asked) >= budget:
            return found
        left = [at for at in order if at not in asked]
        if disagreement and len(asked) >= TREE_START:
            drawn = rng.permutation(left)[:TREE_DRAWN]
            several = np.array([tree.predict(points[drawn]) for tree in trees.estimators_])
            asked.append(int(drawn[several.std(axis=0).argmax()]))
        else:
            asked.append(left[0])


_EMBEDDING: dict[str, np.ndarray] = {}  # of the fresh designs, by identity


def _embedded(raw: Raw) -> np.ndarray:
    space = DesignSpace.flexibert2()
    designs = [Architecture.from_dict(row["architecture"]) for row in raw]
    return np.array([embed(design, space) for design in designs])


def _rows(raw: Raw, asked: Sequence[int] | np.ndarray) -> Rows:
    return rows_of([("pool", [raw[at] for at in asked])])


def _alone(rows: Rows) -> CostModel:
    """Costs without datasheets."""
    inputs = Inputs(rows.terms, rows.memory, np.full(len(rows), np.nan))
    return fit_cost_model(inputs, rows.measures[MEASURE], Effects(), KINDS[MEASURE])


def _error(rows: Rows, fresh: Rows, fit: Callable[[Rows], CostModel] = fit_latency) -> float:
    unknown = np.full(len(fresh), np.nan)
    foretold = fit(rows).predict(Inputs(fresh.terms, fresh.memory, unknown))
    return float(np.median(np.abs(foretold / fresh.measures["latency_s"] - 1)))


def needed(curve: Mapping[int, float], level: float) -> int:
    """Measurements from which on the error stays at or below the level."""
    above = [count for count, error in curve.items() if error > level]
    later = [count for count in curve if not above or count > max(above)]
    return min(later) if later else NEVER


def replay(fresh: Raw, random: Raw, ways: Sequence[str], budget: int, seeds: int) -> dict[str, Any]:
    held = rows_of([("fresh", fresh)])
    _EMBEDDING.update(zip(held.ids, _embedded(fresh)))
    found: dict[str, Any] = {}
    for name in ways:
        curves = [WAYS[name](random, held, budget, seed) for seed in range(seeds)]
        counts = sorted(set.intersection(*(set(curve) for curve in curves)))
        found[name] = {
            "curve": {count: float(np.median([one[count] for one in curves])) for count in counts},
            "needed": {
                level: float(np.median([needed(one, level) for one in curves])) for level in LEVELS
            },
        }
    return found


def _published(folder: Path, file: str, seed: int = 0) -> tuple[Raw, Raw]:
    """Fresh designs and the pool."""
    raw: Raw = json.loads((folder / file).read_text(encoding="utf-8"))
    order = np.random.default_rng(seed).permutation(len(raw))
    fresh = min(FRESH, len(raw) // 3)
    shuffled = [raw[at] for at in order]
    return shuffled[:fresh], shuffled[fresh : fresh + MOST_CANDIDATES]


def _print(title: str, found: Mapping[str, Any]) -> None:
    print(f"\n{title}: median error of latency, %, by measurements; needed for a level")
    levels = "  ".join(f"{level:>5.0%}" for level in LEVELS)
    print(f"{'':<14}" + "".join(f"{count:>7}" for count in SHOWN) + f"   {levels}")
    for name, one in found.items():
        errors = [one["curve"].get(count) for count in SHOWN]
        cells = "".join(f"{'':>7}" if error is None else f"{100 * error:>7.1f}" for error in errors)
        counts = "  ".join(f"{_count(one['needed'][level]):>5}" for level in LEVELS)
        print(f"{name:<14}{cells}   {counts}")
    if not {"chosen", "random"} <= set(found):
        return
    ratios = [_ratio(found, level) for level in LEVELS]
    print(f"{'chosen / random':<{14 + 7 * len(SHOWN)}}   {'  '.join(ratios)}", flush=True)


def _count(count: float) -> str:
    return "never" if count >= NEVER / 2 else f"{count:g}"


def _ratio(found: Mapping[str, Any], level: float) -> str:
    ours, theirs = found["chosen"]["needed"][level], found["random"]["needed"][level]
    return "    -" if max(ours, theirs) >= NEVER / 2 else f"{ours / theirs:>5.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, help="of pool_of_designs.py")
    parser.add_argument("--published", type=Path, help="folder of the published measurements")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    pools = {}
    if args.rows:
        pool = json.loads(args.rows.read_text(encoding="utf-8"))
        pools["this machine"] = [
            [row for row in pool[name] if row["verdict"] != "invalid"]
            for name in ("fresh", "random")
        ]
    if args.published:
        for name, file in PUBLISHED.items():
            pools[name] = list(_published(args.published, file))
    results = {}
    for name, (fresh, random) in pools.items():
        results[name] = replay(fresh, random, args.ways, args.budget, args.seeds)
        if not args.json:
            _print(name, results[name])
    if args.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
