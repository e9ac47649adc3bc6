"""Whether verdicts can be trusted: simulated boards, sound and faulty, judged as real ones are.

For each kind of fault: how many of the runs were flagged at all, and how many by a reason
that names the fault. For sound runs: how many were flagged although nothing was wrong.
"""

from __future__ import annotations

import argparse
import collections
import json

import numpy as np
from simulated_boards import FAULTS, judged, sound

GOAL_FLAGGED, GOAL_FALSE = 0.95, 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", type=int, default=500)
    parser.add_argument("--faulty", type=int, default=200, help="runs of each kind of fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = report(args.clean, args.faulty, args.seed)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for kind, row in found["faults"].items():
        missed = f"  missed: runs {row['missed']}" if row["missed"] else ""
        print(f"{kind:<18} flagged {row['flagged']:6.1%}  named {row['named']:6.1%}{missed}")
    print(f"{'all faults':<18} flagged {found['flagged']:6.1%}  (goal {GOAL_FLAGGED:.0%})")
    print(
        f"sound runs         flagged {found['false']:6.1%}  (goal {GOAL_FALSE:.0%})  {found['why']}"
    )


def report(clean: int, faulty: int, seed: int) -> dict[str, object]:
    why: collections.Counter[str] = collections.Counter()
    false = 0
    for number in range(clean):
        rng = np.random.default_rng([seed, 0, number])
        reasons = judged(sound(rng), rng).reasons
        false += bool(reasons)
        why.update(reasons)
    faults = {name: _kind(name, faulty, [seed, 1 + at]) for at, name in enumerate(FAULTS)}
    return {
        "faults": faults,
        "flagged": sum(row["flagged"] for row in faults.values()) / len(faults),
        "false": false / max(1, clean),
        "why": dict(why),
    }


def _kind(name: str, count: int, seed: list[int]) -> dict[str, object]:
    break_it, names = FAULTS[name]
    flagged, named, missed = 0, 0, []
    for number in range(count):
        rng = np.random.default_rng([*seed, number])
        reasons = judged(break_it(sound(rng), rng), rng).reasons
        flagged += bool(reasons)
        named += bool(names & set(reasons))
        if not reasons:
            missed.append(number)
    return {"flagged": flagged / count, "named": named / count, "missed": missed}


if __name__ == "__main__":
    main()
