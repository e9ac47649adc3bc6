"""A pool of small designs, really measured on this machine: what benchmarks replay.

    python benchmarks/pool_of_designs.py --work POOL --rows POOL.json --seconds 280

`fresh` designs are drawn at random and only ever tested on, `random` ones are drawn alike.
The same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import edgetran
import numpy as np
from edgetran_host.campaign.bundles import Bundles
from edgetran_host.campaign.cells import Cells
from edgetran_host.measuring.profiling import Request, profile
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample

SEED = 2026
FRESH = 50
LENGTH = 128
REQUEST = Request(runs=20, blocks=3, max_blocks=3, threads=1)


def small_space() -> DesignSpace:
    """FlexiBERT 2.0 without its large values: a design costs 1 to 50 ms here."""
    return replace(
        DesignSpace.flexibert2(),
        name="small",
        layer_counts=(2, 4, 6),
        hidden_sizes=(128, 256, 512),
        feed_forward_widths=(256, 512, 1024, 2048),
    )


def designs(random: int) -> dict[str, list[Architecture]]:
    drawn = sample(small_space(), FRESH + random, np.random.default_rng(SEED))
    return {"fresh": drawn[:FRESH], "random": drawn[FRESH:]}


def measure(pool: dict[str, list[Architecture]], work: Path, seconds: float) -> Cells:
    """By turns from each part, so that a pool broken off is a small pool."""
    cells, bundles = Cells(work, "local"), Bundles(work / "bundles", LENGTH)
    until = time.monotonic() + seconds
    longest = max(map(len, pool.values()))
    turns = [part[at] for at in range(longest) for part in pool.values() if at < len(part)]
    with edgetran.connect("local", threads=1) as board:
        for design in turns:
            if cells.done(design):
                continue
            if time.monotonic() > until:
                break
            bundle, out = bundles.of(design), cells.fresh_record(design)
            done = profile(board, bundle, REQUEST, out, attempts=1)
            cells.keep(design, done.record, done.path, 1)
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--random", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=3600.0)
    args = parser.parse_args()
    pool = designs(args.random)
    cells = measure(pool, args.work, args.seconds)
    found = {
        name: [
            json.loads(cells.path(design).read_bytes())["row"]
            for design in part
            if cells.done(design)
        ]
        for name, part in pool.items()
    }
    args.rows.write_text(json.dumps(found, indent=1))
    verdicts = Counter(row["verdict"] for part in found.values() for row in part)
    print({name: len(part) for name, part in found.items()}, dict(verdicts))


if __name__ == "__main__":
    main()
