"""What a bundle promises: the figures of its final measurement, said to be measured or not."""

from __future__ import annotations

from typing import Any

from edgetran_protos.bundle import Claim

FIGURES = ("latency_p50_s", "latency_p95_s", "latency_p99_s", "energy_j", "peak_power_w")


def claims(scores: dict[str, Any], record: dict[str, Any]) -> list[Claim]:
    """scores: on dev; record: of the target board, as `stages/measurements.json` holds it."""
    board = f"{record['board']}:{record['unit']}"
    promised = [
        Claim(
            metric=scores["metric"],
            value=scores["value"],
            low=scores["low"],
            high=scores["high"],
            measured=True,
            board="",  # a score is the model's own, whatever board runs it
            variant=record["variant"],
        )
    ]
    for name in FIGURES:
        if record[name] is not None:
            found = record[name]
            promised.append(
                Claim(
                    metric=name,
                    value=found["value"],
                    low=found["low"],
                    high=found["high"],
                    measured=not record["modelled"],
                    board=board,
                    variant=record["variant"],
                )
            )
    return promised
