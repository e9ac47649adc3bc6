"""What a bundle promises: the figures of its final measurement, said to be measured or not."""

from __future__ import annotations

from typing import Any

from edgetran_protos.bundle import Claim

FIGURES = ("latency_p50_s", "latency_p95_s", "latency_p99_s", "energy_j", "peak_power_w")
SCORED = "edgetran.score/1"  # tasks/scoring.py, over the rows that are only reported
LEVEL = 0.95  # of all intervals here


def claims(scores: dict[str, Any], record: dict[str, Any]) -> list[Claim]:
    """scores: on dev; record: of the target board, as `stages/measurements.json` holds it."""
    board, variant = f"{record['board']}:{record['unit']}", record["variant"]
    anywhere = ""  # a score and a size are the model's own, whatever board runs it
    protocol = record.get("document", {}).get("schema", "")
    measured = not record["modelled"]
    promised = [
        _claim(scores["metric"], scores, True, anywhere, variant, SCORED),
        Claim("artefact_bytes", record["artefact_bytes"], None, None, True, anywhere, variant),
    ]
    for name in FIGURES:
        if record[name] is not None:
            promised.append(_claim(name, record[name], measured, board, variant, protocol))
    if measured:  # an emulated board has no memory of its own
        peak = float(record["peak_memory_bytes"])
        promised.append(
            Claim("peak_memory_bytes", peak, None, None, True, board, variant, protocol=protocol)
        )
    return promised


def _claim(
    metric: str, found: dict[str, Any], measured: bool, board: str, variant: str, protocol: str
) -> Claim:
    """found: value, low and high."""
    return Claim(
        metric=metric,
        value=found["value"],
        low=found["low"],
        high=found["high"],
        measured=measured,
        board=board,
        variant=variant,
        level=None if found["low"] is None else LEVEL,
        protocol=protocol,
    )
