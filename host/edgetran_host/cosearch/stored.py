"""Pairs, outcomes and goals as plain data, for whatever stores them as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from edgetran_host.cosearch.evaluator import Evaluation, Request
from edgetran_host.cosearch.goal import Goal, Limits, Weights
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace


def request_to_json(request: Request) -> dict[str, Any]:
    return {
        "architecture": request.pair.architecture.to_dict(),
        "place": asdict(request.pair.place),
        "fidelity": request.fidelity,
        "seed": request.seed,
    }


def request_from_json(raw: Mapping[str, Any]) -> Request:
    pair = Pair(Architecture.from_dict(raw["architecture"]), Place(**raw["place"]))
    return Request(pair, raw["fidelity"], raw["seed"])


def evaluation_to_json(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "outcome": asdict(evaluation.outcome),
        "training_cost": evaluation.training_cost,
        "sources": dict(evaluation.sources),
        "details": dict(evaluation.details),
    }


def evaluation_from_json(raw: Mapping[str, Any]) -> Evaluation:
    return Evaluation(**{**raw, "outcome": Outcome(**raw["outcome"])})


def product_to_json(product: ProductSpace) -> dict[str, Any]:
    return {
        "space": asdict(product.space),
        "places": [asdict(place) for place in product.places],
    }


def product_from_json(raw: Mapping[str, Any]) -> ProductSpace:
    values = {field.name: raw["space"][field.name] for field in fields(DesignSpace)}
    axes = {name: tuple(value) for name, value in values.items() if name != "name"}
    places = tuple(Place(**place) for place in raw["places"])
    return ProductSpace(DesignSpace(name=values["name"], **axes), places)


def goal_to_json(goal: Goal) -> dict[str, Any]:
    return {
        "references": [
            {"place": asdict(place), "outcome": asdict(outcome)}
            for place, outcome in goal.references.items()
        ],
        "score_scale": goal.score_scale,
        "weights": asdict(goal.weights),
        "limits": asdict(goal.limits),
    }


def goal_from_json(raw: Mapping[str, Any]) -> Goal:
    return Goal(
        {Place(**one["place"]): Outcome(**one["outcome"]) for one in raw["references"]},
        raw["score_scale"],
        Weights(**raw["weights"]),
        Limits(**raw["limits"]),
    )
