"""Times two or more ways to do the same work in alternating blocks, and their ratio.

Alternating makes a drift of the machine hit all of them alike. The interval of a
ratio is a bootstrap over blocks, whose medians are paired.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """How many times longer than the first way; below one is faster."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def alternate(
    ways: Mapping[str, Callable[[], object]], *, blocks: int, runs: int, warmup: int = 3
) -> dict[str, np.ndarray]:
    """name -> seconds (blocks, runs)."""
    for way in ways.values():
        for _ in range(warmup):
            way()
    found = {name: np.zeros((blocks, runs)) for name in ways}
    for block in range(blocks):
        names = list(ways) if block % 2 == 0 else list(ways)[::-1]
        for name in names:
            for run in range(runs):
                started = time.perf_counter()
                ways[name]()
                found[name][block, run] = time.perf_counter() - started
    return found


def ratio(ours: np.ndarray, other: np.ndarray) -> Ratio:
    """Of the blocks' medians, ours over the other's; each (blocks, runs)."""
    pairs = np.log(np.median(ours, axis=1) / np.median(other, axis=1))
    rng = np.random.default_rng(0)
    drawn = rng.choice(pairs, (RESAMPLES, len(pairs))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Ratio(*(float(np.exp(x)) for x in (pairs.mean(), low, high)))


def show(title: str, found: Mapping[str, np.ndarray], reference: str, as_json: bool) -> None:
    """p50 and p99 in milliseconds, and the ratio to the way named `reference`."""
    lines = []
    for name, seconds in found.items():
        p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1e3
        share = ratio(seconds, found[reference])
        lines.append({"way": name, "p50_ms": p50, "p99_ms": p99, "ratio": share.__dict__})
    if as_json:
        print(json.dumps({"benchmark": title, "reference": reference, "ways": lines}))
        return
    print(title)
    for line, name in zip(lines, found, strict=True):
        share = ratio(found[name], found[reference])
        print(f"  {name:<34} p50 {line['p50_ms']:9.3f} ms  p99 {line['p99_ms']:9.3f} ms  x{share}")


def options(doc: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(doc or "").strip().splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=None, help="default: the free cores")
    return parser
