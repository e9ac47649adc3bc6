"""A new board from few rows: alone, with other boards, with other boards and its datasheet.

    python benchmarks/bench_few_shot.py DATA

Each published board in turn is the new one; the surrogates of the others are those that ship.
Median error of latency on its other rows, median over draws of the few.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from edgetran_devices import UnitModel
from edgetran_host.learning.querying import Queries, first_guess
from edgetran_host.surrogates.few_shot import fit_few, fit_none
from edgetran_host.surrogates.rows import Rows, read_rows
from edgetran_host.surrogates.scoring import score
from edgetran_host.surrogates.shipped import (
    datasheet,
    datasheets,
    others_than,
    others_with_datasheets,
)
from edgetran_host.surrogates.surrogate import Surrogate
from ship_surrogates import SETS

COUNTS = (4, 8, 16)
NOISE = 0.06

Fit = Callable[[Rows], Surrogate]


def ways(board: str, unit: UnitModel | None) -> dict[str, Fit]:
    others = others_than(board)
    return {
        "alone": lambda rows: fit_few(rows, []),
        "others": lambda rows: fit_few(rows, others),
        "datasheets": lambda rows: fit_few(rows, [], datasheets()),
        "others + datasheets": lambda rows: fit_few(rows, others, datasheets()),
        "others + datasheet": lambda rows: fit_few(rows, others, [unit] if unit else []),
    }


def spread(rows: Rows, count: int, rng: np.random.Generator) -> np.ndarray:
    """Chosen before anything is measured, from four in five of the rows."""
    kept = rng.permutation(len(rows))[: max(count, round(0.8 * len(rows)))]
    queries, guess = Queries(rows.terms[kept]), first_guess(rows.terms[kept], rows.names)
    asked: list[int] = []
    while len(asked) < count:
        asked.append(queries.best(guess, asked, NOISE))
    return kept[asked]


def by_chance(rows: Rows, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(len(rows))[:count]


def errors(rows: Rows, fit: Fit, choose: Callable[..., np.ndarray], seeds: int) -> dict[int, float]:
    found = {}
    for count in COUNTS:
        if count > 0.7 * len(rows):
            break
        seen = [choose(rows, count, np.random.default_rng(seed)) for seed in range(seeds)]
        found[count] = float(np.median([_error(rows, fit, one) for one in seen]))
    return found


def _error(rows: Rows, fit: Fit, seen: np.ndarray) -> float:
    held = np.setdiff1d(np.arange(len(rows)), seen)
    return score(fit(rows.take(seen)), rows.take(held))["latency_s"].median_ape


def report(data: Path, boards: Sequence[str], seeds: int) -> dict[str, dict[str, dict[int, float]]]:
    found = {}
    for name in boards:
        rows = read_rows([data / SETS[name.replace(":", ".")]])
        board, unit = datasheet(name)
        assert unit is not None
        blind = fit_none(rows.names, others_with_datasheets(board), unit)
        one = {"no rows": {0: score(blind, rows)["latency_s"].median_ape}}
        for way, fit in ways(board, unit).items():
            one[f"{way}, random"] = errors(rows, fit, by_chance, seeds)
            one[f"{way}, chosen"] = errors(rows, fit, spread, seeds)
        found[name] = one
        _print(name, one)
    return found


def _print(name: str, found: dict[str, dict[int, float]]) -> None:
    print(name)
    for way, curve in found.items():
        cells = "  ".join(f"{count}: {100 * error:6.1f} %" for count, error in curve.items())
        print(f"  {way:<28}{cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the published measurements")
    parser.add_argument("--boards", nargs="*", default=[key.replace(".", ":") for key in SETS])
    parser.add_argument("--seeds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    found = report(args.data, args.boards, args.seeds)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
