"""Prints surrogates and their scores: tables for people, JSON for machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgetran_host.cli.show import print_json
from edgetran_host.learning.learning import Learnt
from edgetran_host.surrogates.scoring import Score
from edgetran_host.surrogates.surrogate import MeasureModel, Surrogate
from edgetran_host.surrogates.terms import ARCHITECTURE_TERMS, WORK_TERMS

UNITS = {"latency_s": "s", "energy_j": "J", "peak_power_w": "W"}


def show_scores(scores: Mapping[str, Score], *, as_json: bool) -> None:
    if as_json:
        print_json({name: one.to_json() for name, one in scores.items()})
        return
    table = Table("measure", "mean error", "median error", "rank", "in 90 % interval", "rows")
    for name, one in scores.items():
        rank = "" if one.spearman is None else f"{one.spearman:.3f}"
        table.add_row(
            name,
            f"{one.mape:.2%}",
            f"{one.median_ape:.2%}",
            rank,
            f"{one.coverage_90:.1%}",
            str(one.n),
        )
    Console(highlight=False).print(table)


def show_surrogate(surrogate: Surrogate, *, as_json: bool, costs: bool = False) -> None:
    """costs: what each term costs, too."""
    if as_json:
        print_json(_described(surrogate))
        return
    console = Console(highlight=False, soft_wrap=True)
    setting = ", ".join(f"{key} {value}" for key, value in surrogate.setting.items())
    console.print(escape(f"{surrogate.rows} rows" + (f" ({setting})" if setting else "")))
    table = Table("measure", "error", "90 % interval", "confidence", "beyond a constant")
    for name, measure in surrogate.measures.items():
        trust = measure.confidence
        level = f"{trust.level}: {trust.reason}" if trust.reason else trust.level
        table.add_row(
            name,
            f"{measure.error:.1%}",
            _interval(measure.half_width),
            escape(level),
            ", ".join(measure.model.effects.names()) or "nothing",
        )
    console.print(table)
    if costs:
        for name, measure in surrogate.measures.items():
            _show_costs(console, name, measure, surrogate.names)


def show_learnt(found: Learnt, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                **asdict(found.outcome),
                "data": str(found.outcome.data),
                "suspect": found.suspect,
                "stopped_early": found.stopped_early,
                "coverage_90": dict(found.coverage),
                "surrogate": _described(found.surrogate),
            }
        )
        return
    show_surrogate(found.surrogate, as_json=False)
    console, outcome = Console(highlight=False, soft_wrap=True), found.outcome
    why = "the error asked for is reached" if found.stopped_early else "the budget is spent"
    inside = ", ".join(f"{name} {share:.0%}" for name, share in found.coverage.items())
    console.print(f"{outcome.measured} designs measured: {why}")
    console.print(f"in their 90 % interval, out of fold: {inside}")
    if outcome.invalid or found.suspect or outcome.failed:
        console.print(
            f"{outcome.invalid} invalid and not learnt from, {found.suspect} suspect,"
            f" {outcome.failed} that the board cannot run: see their cells"
        )
    console.print(escape(f"rows: {outcome.data}"))


def _show_costs(console: Console, name: str, measure: MeasureModel, terms: tuple[str, ...]) -> None:
    unit, model = UNITS.get(name, ""), measure.model
    table = Table("term", f"{unit} each", "counts", title=name, title_justify="left")
    scale = measure.scale
    table.add_row("constant", f"{scale * measure.constant_scale * model.constant:.4g}", "a run")
    for term, cost in zip(terms, model.costs):
        if cost:
            meaning = ARCHITECTURE_TERMS.get(term) or WORK_TERMS[term]
            table.add_row(term, f"{scale * cost:.4g}", escape(meaning))
    if model.cliff_cost:
        above = f"bytes of weights above {model.cliff_bytes / 1e6:.0f} MB"
        table.add_row("memory cliff", f"{scale * model.cliff_cost:.4g}", above)
    if model.polling:
        table.add_row("polling step", f"{model.polling.step:.4g}", "rounded up to")
    console.print(table)
    if measure.curve:
        curve = "  ".join(f"{rows}: {error:.1%}" for rows, error in measure.curve.items())
        console.print(f"error on other rows by rows used: {curve}")


def _interval(half_width: float) -> str:
    return f"-{-math.expm1(-half_width):.0%} +{math.expm1(half_width):.0%}"


def _described(surrogate: Surrogate) -> dict[str, Any]:
    return {
        "rows": surrogate.rows,
        "setting": dict(surrogate.setting),
        "measures": {
            name: {
                "error": measure.error,
                "interval_90": [
                    math.exp(-measure.half_width),
                    math.exp(measure.half_width),
                ],
                "confidence": vars(measure.confidence),
                "effects": list(measure.model.effects.names()),
                "constant": measure.scale * measure.constant_scale * measure.model.constant,
                "costs": {
                    term: measure.scale * float(cost)
                    for term, cost in zip(surrogate.names, measure.model.costs)
                    if cost
                },
                "cliff_bytes": measure.model.cliff_bytes if measure.model.cliff_cost else None,
                "cliff_cost": measure.scale * measure.model.cliff_cost or None,
                "polling_step": measure.model.polling and measure.model.polling.step,
                "learning_curve": {str(rows): error for rows, error in measure.curve.items()},
            }
            for name, measure in surrogate.measures.items()
        },
    }
