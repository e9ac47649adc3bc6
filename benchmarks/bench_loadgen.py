"""MLPerf LoadGen against the daemon, beside our own percentiles and measurement.

LoadGen times each query of a SingleStream run and works out its percentiles; so do we, from
our times of the same queries around the same call. What the daemon says the runtime took of
each is told beside it, and what a measurement of the same model says before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import edgetran
import numpy as np
from bench_serving import SHAPES, TEXT, model, stop
from edgetran_protos.measuring.percentiles import bound
from loadgen_client import offline, single_stream

PERCENTS = (50, 90, 95, 99)
MS = 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=3000)
    parser.add_argument("--shape", choices=list(SHAPES), default="BERT-Mini size")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EDGETRAN_HOME"] = folder
        with edgetran.connect("local", threads=1) as board:
            bundle, _, _ = model(Path(folder), *SHAPES[args.shape])
            board.deploy(bundle, model="bench")
            found = compare(board, bundle.digest, args.queries, Path(folder) / "loadgen")
            stop(board)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for name, row in found.items():
        print(f"{name:<44} " + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))


def compare(board: edgetran.Board, digest: str, queries: int, folder: Path) -> dict[str, dict]:
    runtime_s: list[float] = []

    def ask() -> None:
        runtime_s.append(board.answer([TEXT], "bench").infer_s)

    for _ in range(50):
        ask()
    before = board.measure([(digest, None)])[0]
    runtime_s.clear()
    told = single_stream(ask, queries, folder)
    inside_s = np.array(runtime_s)
    after = board.measure([(digest, None)])[0]
    at_once = offline(ask, queries, folder)
    rows = {
        "LoadGen, its times, its percentiles, ms": {
            f"p{p}": told.percentile_s(p) * MS for p in PERCENTS
        },
        "ours, around the same calls, ms": percentiles(told.own_s),
        "LoadGen's early stopping, ms": {
            "p90": told.seconds("early_stopping_latency_ss") * MS,
            "p99": told.seconds("early_stopping_latency_ms") * MS,
        },
        "the same rule here, ms": {f"p{p}": (bound(told.own_s, p) or 0) * MS for p in (90, 99)},
        "the runtime in those requests, ms": percentiles(inside_s),
        "a measurement before, ms": measured(before),
        "a measurement after, ms": measured(after),
        "Offline, queries a second": {
            "LoadGen": float(at_once.fields["result_samples_per_second"]),
            "ours": len(at_once.own_s) / float(at_once.own_s.sum()),
        },
    }
    for name, record in (("before", before), ("after", after)):
        print(f"measurement {name}: {record.verdict} {', '.join(record.reasons)}")
    return rows


def percentiles(samples_s: np.ndarray) -> dict[str, float]:
    return {f"p{p}": float(np.percentile(samples_s, p)) * MS for p in PERCENTS}


def measured(record: edgetran.Measurement) -> dict[str, float]:
    found = {"p50": record.latency_p50_s, "p95": record.latency_p95_s, "p99": record.latency_p99_s}
    return {name: one.value * MS for name, one in found.items() if one is not None}


if __name__ == "__main__":
    main()
