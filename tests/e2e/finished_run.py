"""A finished run as its folder has it, small: two models, three trials, a tree of two nodes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.refine.node import ROOT_MODE
from edgetran_host.refine.proposals import GROW_HEADS
from edgetran_host.search.seeded_space import Design

from tests.host.refine.test_cycle import node

REFUSED = Design(6, 12, 768, 8000, "int8")
TRIALS = ((2, 0.70, 0.010), (4, 0.80, 0.020), (6, 0.78, 0.030))  # layers, score, latency
LIMITS = ("max_latency_s", "max_energy_j", "max_size_bytes", "max_power_w")


def scores(value: float) -> dict[str, Any]:
    return {"metric": "accuracy", "value": value, "low": value - 0.02, "high": value + 0.02}


def measured(latency_s: float, modelled: bool) -> dict[str, Any]:
    def quantity(value: float) -> dict[str, float]:
        return {"value": value, "low": 0.5 * value, "high": 1.5 * value}

    return {
        "latency_p50_s": quantity(latency_s),
        "latency_p99_s": quantity(1.3 * latency_s),
        "energy_j": quantity(3 * latency_s) if modelled else None,
        "peak_power_w": quantity(7.1) if modelled else None,
        "modelled": modelled,
        "verdict": "modelled" if modelled else "valid",
        "threads": 1,
        "samples_s": [] if modelled else [latency_s, 1.1 * latency_s, 1.2 * latency_s],
    }


def trial(layers: int, score: float, latency_s: float) -> dict[str, Any]:
    cost = {"latency_s": latency_s, "size_bytes": layers * 1e6, "modelled": True}
    return {
        "design": {"layers": layers, "heads": 6, "feed_forward": 768},
        "cost": cost,
        "score": score,
    }


def row(key: str, title: str, score: float, latency_s: float) -> dict[str, Any]:
    return {
        "key": key,
        "title": title,
        "scores": scores(score),
        "trained_scores": scores(score),
        "parameters": 1_000_000,
        "artefact_bytes": 4_000_000,
        "max_abs_error": 0.1,
        "measured": {
            "target": measured(latency_s, True),
            "reference": measured(0.1 * latency_s, False),
        },
    }


def write_finished(path: Path) -> None:
    run = RunDirectory.create(path, JobConfig("intents", "minilm", "nano", "quick"))
    rows = [row("seed-fp32", "seed, fp32", 0.9, 0.05), row("chosen", "chosen: 4L", 0.8, 0.02)]
    run.finish("measurements", {one["key"]: one["measured"] for one in rows})
    root, child = node(0, None, ROOT_MODE, 0.5), node(1, 0, GROW_HEADS, 0.6)
    board = {"title": "NVIDIA Jetson Nano 4 GB", "unit": "cpu", "emulated": True}
    run.write_result(
        {
            "config": run.config().to_json(),
            "data": {
                "task": "intents",
                "metric": "accuracy",
                "rows": {"dev": 100},
                "floor": scores(0.6),
            },
            "search": {
                "trials": [trial(*one) for one in TRIALS],
                "refused": [{"design": asdict(REFUSED), "why": "the int8 graph is broken"}],
                "best": trial(*TRIALS[1]),
                "reference": trial(12, 0.9, 0.05),
                "budget": dict.fromkeys(LIMITS) | {"max_latency_s": 0.04},
            },
            "rows": rows,
            "boards": {
                "target": board,
                "reference": {"title": "This machine", "unit": "cpu", "emulated": False},
            },
            "refinement": {"nodes": [root.to_json(), child.to_json()], "best": 1},
        }
    )
