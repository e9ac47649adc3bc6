"""Looks long for the best pair of each assumed truth, without noise, and keeps it in a file.

Evolutions that keep their elite, several on each board alone, then one from all their elites.
A stored pair is replaced only by a better one: run again with other seeds to look further.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from bench_search import BEST_KNOWN, Bench, best_known, truth
from edgetran_host.cosearch.moves import cross, step
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from make_oracles import TRUTHS

ELITE, CHILDREN, ROUNDS = 40, 40, 80


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=4, help="on each board")
    given = parser.parse_args()
    for name in TRUTHS:
        bench = Bench(truth(name), best_known(name))
        found = searched(bench, np.random.default_rng(given.seed), given.restarts)
        value = float(bench.exact([found])[0])
        print(f"{name}: stored {bench.best:.4f}, found {value:.4f}", flush=True)
        if value > bench.best:
            keep(name, found)


def keep(name: str, pair: Pair) -> None:
    stored = json.loads(BEST_KNOWN.read_text(encoding="utf-8"))
    stored[name] = {"board": pair.place.board, "architecture": pair.architecture.to_dict()}
    BEST_KNOWN.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def searched(bench: Bench, rng: np.random.Generator, restarts: int) -> Pair:
    elites: list[Pair] = []
    for place in bench.space.places:
        alone = ProductSpace(bench.space.space, (place,))
        for _ in range(restarts):
            elites += evolved(bench, alone.sample(rng, ELITE, tied=True), alone, rng)
    return evolved(bench, elites, bench.space, rng)[0]


def evolved(
    bench: Bench, alive: list[Pair], space: ProductSpace, rng: np.random.Generator
) -> list[Pair]:
    """The elite after ROUNDS of steps and crossings, the best first."""
    values = bench.exact(alive)
    for _ in range(ROUNDS):
        one, other = (
            [alive[at] for at in rng.integers(len(alive), size=CHILDREN)] for _ in range(2)
        )
        born = [step(pair, space, rng) for pair in one]
        born += [cross(*parents, rng) for parents in zip(one, other)]
        new = list(dict.fromkeys(pair for pair in born if pair not in alive))
        alive, values = [*alive, *new], np.concatenate([values, bench.exact(new)])
        order = np.argsort(-values)[:ELITE]
        alive, values = [alive[at] for at in order], values[order]
    return alive


if __name__ == "__main__":
    main()
