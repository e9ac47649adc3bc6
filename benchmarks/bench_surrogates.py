"""Surrogates on the published measurements: ours beside the published AdaBoost.R2, held out.

Splits are by architecture. Ours are fitted as `edgetran surrogate fit` does it. Every goal is
printed with what was found. All figures are seeded, errors are shares.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from edgetran_host.job.run_directory import write_atomically
from edgetran_host.surrogates.recalibrating import recalibrate
from edgetran_host.surrogates.rows import MEASURES, Rows
from edgetran_host.surrogates.scoring import score
from edgetran_host.surrogates.selection import folds
from edgetran_host.surrogates.shipped import load_shipped
from edgetran_host.surrogates.surrogate import fit_surrogate
from published_boards import (
    SETS,
    TREES,
    TWICE,
    Published,
    published_way,
    read_set,
    repeat_scatter,
    take,
)

FEW_SHARE = 0.65  # of the architectures, in the pessimistic splits
MOST_HELD = 500
DRAWS = 20  # of 16 rows, and twice as many of 5
NOT_COMPARED = ("NCS2", "Nano GPU")
HELD_OUT = {  # set -> most of the held-out error of latency, of energy
    "A100 template": (0.02, 0.04),
    "Pi April": (0.02, 0.07),
    "M1 GPU April": (0.06, 0.06),
    "Nano CPU April": (0.10, 0.11),
    "M1 CPU April": (0.10, 0.14),
    "Nano CPU main": (0.18, 0.18),
}
SHARE_OF_PUBLISHED = {"latency_s": 0.5, "energy_j": 0.5, "peak_power_w": 1.0}
SIXTEEN_ROWS = {"A100 template": 0.025, "Pi April": 0.025, "M1 GPU April": 0.09}
DEAR_HALF = {"A100 template": 0.03, "Pi April": 0.02, "M1 GPU April": 0.06}
FIVE_ROWS = {"Pi April": 0.02, "A100 April": 0.04}
FITTED_ON = {"Pi April": ("rpi4:cpu", "Pi main"), "A100 April": ("a100:gpu", "A100 main")}
SHIPPED_SAW = ("Pi April",)  # ship_surrogates.py: what was fitted on them proves nothing here
COVERAGE = (0.85, 0.95)


@dataclass(frozen=True)
class Way:
    """How one way did on the held-out rows of one measure, all splits together."""

    mape: float
    mape_spread: float  # standard error of the mean, over the splits
    median_ape: float
    spearman: float
    coverage_90: float | None  # None: it gives no interval


@dataclass(frozen=True)
class Goal:
    what: str
    found: float
    least: float
    most: float

    @property
    def met(self) -> bool:
        return self.least <= self.found <= self.most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the published measurements")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--splits", type=int, default=10, help="folds; a third as many of 65 %%")
    parser.add_argument("--trees", type=int, default=TREES, help="of the published surrogates")
    parser.add_argument("--keep", type=Path, help="folder of splits done: go on after a stop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    sets = {name: read_set(args.data, name) for name in args.sets}
    found: dict[str, dict[str, object]] = {}
    goals: list[Goal] = []
    for name, whole in sets.items():
        print(f"{name}: {len(whole.rows)} rows", file=sys.stderr, flush=True)
        kept = args.keep and args.keep / f"{name}-{args.splits}-{args.trees}-{args.seed}"
        found[name] = judge(whole, args.splits, args.trees, args.seed, kept)
        goals += goals_of(name, found[name])
        goals += small_goals(name, whole.rows, sets, args.seed)
    floors = repeats(sets)
    if args.json:
        shown = [{**asdict(goal), "met": goal.met} for goal in goals]
        print(json.dumps({"sets": found, "repeats": floors, "goals": shown}, default=asdict))
        return
    show(found, floors, goals)


def judge(
    whole: Published, splits: int, trees: int, seed: int, kept: Path | None
) -> dict[str, object]:
    many = _enough(list(folds(whole.rows.ids, seed, splits)))
    few = _enough(list(_few(whole.rows, max(1, splits // 3), seed)))
    started = time.process_time()
    fit_surrogate(whole.rows)
    return {
        "rows": len(whole.rows),
        "fit_cpu_s": time.process_time() - started,
        "held_out": compare(whole, many, trees, seed, kept and kept.with_name(f"{kept.name}-many")),
        "few": compare(whole, few, trees, seed, kept and kept.with_name(f"{kept.name}-few")),
    }


def _enough(held_out: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """The first splits, up to MOST_HELD rows held out: more change no figure of a large set."""
    before = np.cumsum([0, *(held.sum() for held in held_out)])[:-1]
    return [held for held, rows in zip(held_out, before) if rows < MOST_HELD]


def compare(
    whole: Published, held_out: Sequence[np.ndarray], trees: int, seed: int, kept: Path | None
) -> dict[str, dict[str, Way]]:
    """measure -> "ours" and "published"; splits done before are read from `kept`-NUMBER.json."""
    found = []
    for number, held in enumerate(held_out):
        path = kept and kept.with_name(f"{kept.name}-{number}.json")
        if path and path.exists():
            found.append(json.loads(path.read_text(encoding="utf-8")))
            continue
        found.append(_foretell(take(whole, ~held), take(whole, held), trees, seed))
        if path:
            write_atomically(path, json.dumps(found[-1]).encode())
    return {
        name: {
            "ours": _way([one[name] for one in found], "ours"),
            "published": _way([one[name] for one in found], "published"),
        }
        for name in MEASURES
    }


def _foretell(
    train: Published, test: Published, trees: int, seed: int
) -> dict[str, dict[str, list[float]]]:
    """measure -> measured and foretold values of `test`, row by row, and whether inside ours."""
    foretold = fit_surrogate(train.rows).predict(test.rows)
    other = published_way(train, test, trees, seed)
    found = {}
    for name in MEASURES:
        value, mine = test.rows.measures[name], foretold[name]
        columns = {
            "measured": value,
            "ours": mine.value,
            "inside": (mine.low <= value) & (value <= mine.high),
            "published": other[name],
        }
        found[name] = {key: np.asarray(one, dtype=float).tolist() for key, one in columns.items()}
    return found


def _way(splits: Sequence[dict[str, list[float]]], way: str) -> Way:
    from scipy.stats import spearmanr

    errors = [np.abs(np.array(one[way]) / np.array(one["measured"]) - 1.0) for one in splits]
    means, all_errors = [float(one.mean()) for one in errors], np.concatenate(errors)
    foretold, measured = (np.concatenate([one[key] for one in splits]) for key in (way, "measured"))
    constant = np.ptp(foretold) == 0
    inside = np.concatenate([one["inside"] for one in splits])
    return Way(
        mape=float(all_errors.mean()),
        mape_spread=float(np.std(means) / np.sqrt(len(means))),
        median_ape=float(np.median(all_errors)),
        spearman=0.0 if constant else float(spearmanr(foretold, measured).statistic),
        coverage_90=float(inside.mean()) if way == "ours" else None,
    )


def _few(rows: Rows, count: int, seed: int) -> Iterator[np.ndarray]:
    """Masks (n,) of the rows outside a random 65 % of the architectures."""
    designs = sorted(set(rows.ids))
    for split in range(count):
        order = np.random.default_rng([seed, split]).permutation(len(designs))
        seen = {designs[at] for at in order[: round(FEW_SHARE * len(designs))]}
        yield np.array([identity not in seen for identity in rows.ids])


def goals_of(name: str, found: dict[str, object]) -> Iterator[Goal]:
    held_out = found["held_out"]
    assert isinstance(held_out, dict)
    for measure, most in zip(MEASURES, HELD_OUT.get(name, ())):
        yield Goal(f"{name} {measure} held out", held_out[measure]["ours"].mape, 0, most)
    for measure, ways in held_out.items():
        if name not in NOT_COMPARED:
            share = ways["ours"].mape / ways["published"].mape
            most = SHARE_OF_PUBLISHED[measure]
            yield Goal(f"{name} {measure} over the published way's", share, 0, most)
            yield Goal(f"{name} {measure} coverage", ways["ours"].coverage_90, *COVERAGE)


def small_goals(name: str, rows: Rows, sets: dict[str, Published], seed: int) -> Iterator[Goal]:
    """Of few rows, of the dearer half, of another set-up; of latency all."""
    if name in SIXTEEN_ROWS:
        error = _mean_error(rows, 16, DRAWS, seed, fit_surrogate)
        yield Goal(f"{name} latency from 16 rows", error, 0, SIXTEEN_ROWS[name])
    if name in DEAR_HALF:
        cheap = rows.measures["latency_s"] <= np.median(rows.measures["latency_s"])
        error = score(fit_surrogate(rows.take(cheap)), rows.take(~cheap))["latency_s"].mape
        yield Goal(f"{name} latency of the dear half from the cheap", error, 0, DEAR_HALF[name])
    if name in FIVE_ROWS:
        shipped, other = FITTED_ON[name]
        seen = ", which saw these rows" if name in SHIPPED_SAW else ""
        starts = {f"the shipped {shipped}{seen}": load_shipped(shipped)}
        if other in sets:
            starts[other] = fit_surrogate(sets[other].rows)
        for title, start in starts.items():
            error = _mean_error(rows, 5, 2 * DRAWS, seed, partial(recalibrate, start))
            yield Goal(f"{name} latency by 5 rows on {title}", error, 0, FIVE_ROWS[name])
    if name == "NCS2":
        sure = [one.confidence.level != "low" for one in fit_surrogate(rows).measures.values()]
        yield Goal("NCS2 measures that are not said to be unsure", float(sum(sure)), 0, 0)


def _mean_error(
    rows: Rows, count: int, draws: int, seed: int, fit: Callable[[Rows], object]
) -> float:
    """Of latency on the rows that were not drawn."""
    found = []
    for draw in range(draws):
        order = np.random.default_rng([seed, draw]).permutation(len(rows))
        model = fit(rows.take(order[:count]))
        found.append(score(model, rows.take(order[count:]))["latency_s"].mape)
    return float(np.mean(found))


def repeats(sets: dict[str, Published]) -> dict[str, dict[str, float]]:
    """board -> how far one measurement lies from the mean of two, by measure."""
    found = {}
    for board, (one, two) in TWICE.items():
        if one in sets and two in sets:
            scatter = {
                name: repeat_scatter(sets[one].rows, sets[two].rows, name) for name in MEASURES
            }
            found[board] = {name: error for name, (error, _) in scatter.items()}
            found[board]["designs"] = scatter["latency_s"][1]
    return found


def show(
    found: dict[str, dict[str, object]], floors: dict[str, dict[str, float]], goals: list[Goal]
) -> None:
    for name, one in found.items():
        print(f"{name}, {one['rows']} rows, fitted in {one['fit_cpu_s']:.1f} s of CPU")
        for part, title in (("held_out", "folds"), ("few", "from 65 %")):
            for measure, ways in one[part].items():
                ours, theirs = ways["ours"], ways["published"]
                print(
                    f"  {title:<10}{measure:<13}"
                    f"ours {ours.mape:6.2%} ± {ours.mape_spread:5.2%}"
                    f" (median {ours.median_ape:6.2%}, rank {ours.spearman:5.2f},"
                    f" inside {ours.coverage_90:4.0%})"
                    f"   published {theirs.mape:6.2%} ± {theirs.mape_spread:5.2%}"
                    f" (median {theirs.median_ape:6.2%}, rank {theirs.spearman:5.2f})"
                    f"   x{ours.mape / theirs.mape:.2f}"
                )
    for board, scatter in floors.items():
        parts = ", ".join(f"{name} {scatter[name]:.1%}" for name in MEASURES)
        print(f"{board}: {scatter['designs']} designs measured twice scatter by {parts}")
    for goal in goals:
        bounds = f"{goal.least:.3g} to {goal.most:.3g}" if goal.least else f"<= {goal.most:.3g}"
        print(f"{'met   ' if goal.met else 'MISSED'} {goal.what}: {goal.found:.4f} ({bounds})")
    print(f"{sum(goal.met for goal in goals)} of {len(goals)} goals met")


if __name__ == "__main__":
    main()
