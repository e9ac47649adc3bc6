"""Searches for the best pair of transformer and board, side by side on one assumed truth.

The goal weighs score, latency, energy and peak power over all boards, each cost by its ratio
to BERT-Base on the same board (T1). Methods see noisy measurements only. What counts is the
exact value of the pair that looks best so far, as a share of the gap between the median of
random designs and the best known: what a long search without noise found (`best_known.py`), or
any method does.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from edgetran_host.cosearch.goal import Goal, costs
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from make_oracles import TRUTHS, bert, oracle_of
from search_rivals import DEFAULT, METHODS, Session

SCORE_SCALE = 0.04  # of GLUE: 3.2 points weigh as a factor e of latency and energy together
MEDIAN_OF = 2000  # random designs
BEST_KNOWN = Path(__file__).with_name("best_known.json")  # of best_known.py
MILESTONES = (0.8, 0.9)
REAL_RIVAL = "local_tied"


class Bench:
    def __init__(self, oracle: Oracle, known: Pair | None) -> None:
        """known: the best pair known; None: what the methods find must do."""
        self.oracle = oracle
        self.space = ProductSpace(DesignSpace.flexibert2(), oracle.places)
        base = [Pair(bert(12, 768), place) for place in oracle.places]
        self.goal = Goal(dict(zip(oracle.places, oracle.exact(base))), SCORE_SCALE)
        rng = np.random.default_rng(0)
        self.median = float(np.median(self.exact(self.space.sample(rng, MEDIAN_OF, tied=False))))
        self.best = -np.inf if known is None else float(self.exact([known])[0])

    def exact(self, pairs: list[Pair]) -> np.ndarray:
        """(n,) values without noise."""
        outcomes = self.oracle.exact(pairs)
        scores = np.array([outcome.score for outcome in outcomes])
        return self.goal.values([pair.place for pair in pairs], scores, costs(outcomes))

    def curve(self, session: Session) -> np.ndarray:
        """(trials,) the exact value of what looked best so far."""
        seen = [self.goal.value(one.pair.place, one.outcome) for one in session.trials]
        exact = self.exact([one.pair for one in session.trials])
        best = [int(np.argmax(seen[: at + 1])) for at in range(len(seen))]
        self.best = max(self.best, float(exact.max()))
        return exact[best]

    def share(self, values: np.ndarray) -> np.ndarray:
        return (values - self.median) / (self.best - self.median)


def main() -> None:
    given = arguments()
    bench = Bench(truth(given.truth), best_known(given.truth))
    runs: dict[str, list[np.ndarray]] = {}
    spent: dict[str, float] = {}
    for name in given.methods:
        started = time.process_time()
        for seed in range(given.seeds):
            session = Session(bench.oracle, bench.space, bench.goal, given.budget, seed)
            METHODS[name](session)
            runs.setdefault(name, []).append(bench.curve(session))
        spent[name] = (time.process_time() - started) / given.seeds / given.budget
        if not given.json:
            print(f"{name}: {given.seeds} seeds, {spent[name]:.3f} CPU-s an evaluation", flush=True)
    rows = [row(name, bench, np.array(runs[name]), spent[name]) for name in runs]
    if given.json:
        print(json.dumps({"median": bench.median, "best": bench.best, "methods": rows}))
    else:
        print(table(rows, bench, given))


def truth(word: str) -> Oracle:
    return oracle_of(TRUTHS[word]()) if word in TRUTHS else Oracle.load(Path(word))


def best_known(word: str) -> Pair | None:
    found = json.loads(BEST_KNOWN.read_text(encoding="utf-8")).get(word)
    if found is None:
        return None
    return Pair(Architecture.from_dict(found["architecture"]), Place(found["board"]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "truth",
        nargs="?",
        default="friendly",
        help="friendly, hostile, or a file of make_oracles.py",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=200, help="evaluations")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(DEFAULT))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def row(name: str, bench: Bench, values: np.ndarray, seconds: float) -> dict[str, object]:
    """values (seeds, evaluations)."""
    shares = bench.share(values)
    at = [count for count in (25, 50, 100, 200, 300, 500) if count <= shares.shape[1]]
    return {
        "method": name,
        "share": {count: float(np.median(shares[:, count - 1])) for count in at},
        "seeds": {count: shares[:, count - 1].round(3).tolist() for count in at},
        "evaluations": {goal: needed(shares, goal) for goal in MILESTONES},
        "cpu_s": seconds,
    }


def needed(shares: np.ndarray, goal: float) -> float | None:
    """Median evaluations to a share; None: half of the seeds or more never came to it."""
    reached = (shares >= goal).any(axis=1)
    first = np.where(reached, (shares >= goal).argmax(axis=1) + 1.0, np.inf)
    median = float(np.sort(first)[len(first) // 2])
    return median if np.isfinite(median) else None


def table(rows: list[dict[str, object]], bench: Bench, given: argparse.Namespace) -> str:
    """Shares in per cent; ratio: evaluations to 80 % of the real rival's, over the method's own."""
    lines = [f"{given.truth}: median {bench.median:.2f}, best known {bench.best:.2f}"]
    rival = next((one["evaluations"][0.8] for one in rows if one["method"] == REAL_RIVAL), None)
    counts = list(rows[0]["share"])
    heads = "".join(f"{f'at {count}':>8}" for count in counts)
    lines.append(f"{'method':22}{heads}{'to 80 %':>9}{'to 90 %':>9}{'ratio':>7}")
    for one in rows:
        shares = "".join(f"{100 * value:8.0f}" for value in one["share"].values())
        found = one["evaluations"]
        to = "".join(f"{found[goal] or f'>{given.budget}':>9}" for goal in MILESTONES)
        ratio = f"{rival / found[0.8]:7.2f}" if rival and found[0.8] else f"{'-':>7}"
        lines.append(f"{one['method']:22}{shares}{to}{ratio}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
