"""Looks long for the best pair of each truth and task, without noise, and keeps it in a file.

Evolutions that keep their elite, several on each board alone, then one from all their elites.
A stored pair is replaced only by a better one: run again with other seeds to look further.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from edgetran_host.cosearch.moves import cross, step
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from make_oracles import TRUTHS
from search_tasks import BEST_KNOWN, LIMITED, Task, best_known, known_as, task_of

ELITE, CHILDREN, ROUNDS = 40, 40, 80
ALONE = ("T1", *(f"T2-{board}" for board in LIMITED))  # of T3 there is no best pair


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--truths", nargs="+", default=list(TRUTHS))
    parser.add_argument("--tasks", nargs="+", choices=ALONE, default=list(ALONE))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=4, help="on each board")
    given = parser.parse_args()
    for word in given.truths:
        for name in given.tasks:
            task, known = task_of(word, name), best_known(word, name)
            stored = -np.inf if known is None else float(task.exact([known])[0])
            found = searched(task, np.random.default_rng(given.seed), given.restarts)
            value = float(task.exact([found])[0])
            print(f"{word} {name}: stored {stored:.4f}, found {value:.4f}", flush=True)
            if value > stored:
                keep(known_as(word, name), found)


def keep(name: str, pair: Pair) -> None:
    stored = json.loads(BEST_KNOWN.read_text(encoding="utf-8"))
    stored[name] = {"board": pair.place.board, "architecture": pair.architecture.to_dict()}
    BEST_KNOWN.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def searched(task: Task, rng: np.random.Generator, restarts: int) -> Pair:
    elites: list[Pair] = []
    for place in task.space.places:
        alone = ProductSpace(task.space.space, (place,))
        for _ in range(restarts):
            elites += evolved(task, alone.sample(rng, ELITE, tied=True), alone, rng)
    return evolved(task, elites, task.space, rng)[0]


def evolved(
    task: Task, alive: list[Pair], space: ProductSpace, rng: np.random.Generator
) -> list[Pair]:
    """The elite after ROUNDS of steps and crossings, the best first."""
    values = task.exact(alive)
    for _ in range(ROUNDS):
        one, other = (
            [alive[at] for at in rng.integers(len(alive), size=CHILDREN)] for _ in range(2)
        )
        born = [step(pair, space, rng) for pair in one]
        born += [cross(*parents, rng) for parents in zip(one, other)]
        new = list(dict.fromkeys(pair for pair in born if pair not in alive))
        alive, values = [*alive, *new], np.concatenate([values, task.exact(new)])
        order = np.argsort(-values)[:ELITE]
        alive, values = [alive[at] for at in order], values[order]
    return alive


if __name__ == "__main__":
    main()
