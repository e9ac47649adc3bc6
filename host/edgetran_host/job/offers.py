"""The chosen model for every runtime that the target has: exported, scored, packed as one bundle.

The search tries one runtime. Another of the board may serve the same weights faster, at an
accuracy of its own: held-out rows decide whether that is good enough, dev is only reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetran import Board
from edgetran.progress import Progress
from edgetran_protos.bundle import Bundle, Variant
from edgetran_protos.bundle import Work as GraphWork
from edgetran_protos.errors import BudgetError, ExportError

from edgetran_host.export import CELLS, Graph, export_variants
from edgetran_host.export.missing import MissingPackage
from edgetran_host.job.build import (
    CALIBRATION_ROWS,
    GOLDEN_ROWS,
    artefact_bytes,
    score_graph,
    scores_to_json,
)
from edgetran_host.job.config import Budget
from edgetran_host.job.origin import origin_of
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.text_model import TextModel
from edgetran_host.packing import pack
from edgetran_host.search.objective import Cost, describe_excess, within

SEARCHED_RUNTIME = "onnxruntime"
USUAL_LIMIT = 0.01  # of the score: no less can be told apart on 1,000 held-out rows
KINDS = (("int8", "int8-weights"), ("fp32", "fp16"))  # precisions of about one size


@dataclass(frozen=True)
class Trained:
    """The chosen design after its training."""

    model: TextModel
    tokenizer_json: bytes
    precision: str  # that the search tried it in
    held_out: float  # the model's own score on the rows that decide
    folder: Path


@dataclass(frozen=True)
class Offer:
    """One pair of runtime and precision: a scored graph, or the reason why there is none."""

    runtime: str
    precision: str
    left_out: str  # empty: the board may have it
    found: Mapping[str, Any]  # variant, file, scores on dev, accuracy_cost; empty: not made

    @property
    def name(self) -> str:
        return f"{self.runtime}-{self.precision}"

    @property
    def accuracy_cost(self) -> float:
        """What it loses of the model's score on held-out rows; negative: it gains."""
        return float(self.found["accuracy_cost"])

    def graph(self, folder: Path) -> Graph:
        raw = dict(self.found["variant"])
        variant = Variant(**{**raw, "work": GraphWork(**raw["work"])})
        return Graph(variant, folder / self.found["file"])


@dataclass(frozen=True)
class Offers:
    """What goes to the board: one bundle of the variants that are not left out."""

    bundle: Bundle
    every: tuple[Offer, ...]

    @property
    def packed(self) -> tuple[Offer, ...]:
        return tuple(offer for offer in self.every if not offer.left_out)

    def offer(self, variant: str) -> Offer:
        return next(offer for offer in self.packed if offer.name == variant)

    def size_bytes(self, variant: str) -> int:
        return artefact_bytes(self.bundle, variant)


def make_offers(work: Workbench, trained: Trained) -> Offers:
    """Each graph is made once and kept. Where none of the searched kind of precision is good
    enough, the other kind is tried. Raises BudgetError when that is of no use either.
    """
    usual, other = sorted(KINDS, key=lambda kind: trained.precision not in kind)
    found = [_offer(work, trained, *pair) for pair in _pairs(work, usual, trained.precision)]
    limit = _limit(work.config.max_accuracy_cost, found[0])
    if all(_judged(offer, limit).left_out for offer in found):
        found += [_offer(work, trained, *pair) for pair in _pairs(work, other, other[0])]
    judged = tuple(_judged(offer, limit) for offer in found)
    if all(offer.left_out for offer in judged):
        raise BudgetError(
            f"nothing to serve: {'; '.join(f'{o.name} {o.left_out}' for o in judged)}",
            hint="allow more by --max-accuracy-cost, or train longer by --effort standard",
        )
    return Offers(_pack(work, trained, judged, limit), judged)


def fastest(offers: Offers, records: Mapping[str, Mapping[str, Any]], budget: Budget) -> str:
    """The variant to serve; records: by variant, of the target.

    Raises BudgetError when each breaks a limit.
    """
    costs = {name: _cost(record, offers.size_bytes(name)) for name, record in records.items()}
    good = [name for name, cost in costs.items() if within(cost, budget)]
    if not good:
        broken = (f"{name} has {describe_excess(cost, budget)}" for name, cost in costs.items())
        raise BudgetError(
            f"trained and measured again, the chosen model breaks a limit: {'; '.join(broken)}",
            hint="nothing was deployed; loosen that limit, or search again with another --run",
        )
    return min(good, key=lambda name: costs[name].latency_s)


def table(
    offers: Offers, records: Mapping[str, Mapping[str, Any]], serving: str
) -> list[dict[str, Any]]:
    """What `result.json` tells of each."""
    return [
        {
            "variant": offer.name,
            "left_out": offer.left_out,
            "serves": offer.name == serving,
            "scores": offer.found.get("scores"),
            "accuracy_cost": offer.found.get("accuracy_cost"),
            "artefact_bytes": None if offer.left_out else offers.size_bytes(offer.name),
            "latency_p50_s": None if offer.left_out else records[offer.name]["latency_p50_s"],
            "modelled": None if offer.left_out else records[offer.name]["modelled"],
        }
        for offer in offers.every
    ]


def pairs_on(board: Board) -> list[tuple[str, str]]:
    """All that the board runs, as runtime and precision."""
    has = {found.name for found in board.describe().runtimes if not found.unavailable}
    return [pair for pair in CELLS if pair[0] in has]


def _pairs(work: Workbench, precisions: tuple[str, ...], first: str) -> list[tuple[str, str]]:
    """What the target runs of these precisions; the searched runtime with `first` leads."""
    pairs = [pair for pair in pairs_on(work.board) if pair[1] in precisions]
    return sorted(pairs, key=lambda pair: pair != (SEARCHED_RUNTIME, first))


def _limit(asked: float | None, searched: Offer) -> float:
    """The user's; else the usual one, or what the searched graph loses if that is more,
    since the search has weighed that loss already.
    """
    if asked is not None:
        return asked
    return max(USUAL_LIMIT, searched.accuracy_cost) if searched.found else USUAL_LIMIT


def _judged(offer: Offer, limit: float) -> Offer:
    if offer.left_out or offer.accuracy_cost <= limit:
        return offer
    lost, allowed = 100 * offer.accuracy_cost, 100 * limit
    reason = f"loses {lost:.2f} points on held-out rows, at most {allowed:.2f} are allowed"
    return dataclasses.replace(offer, left_out=reason)


def _cost(record: Mapping[str, Any], size_bytes: int) -> Cost:
    energy, power = record["energy_j"], record["peak_power_w"]
    return Cost(
        latency_s=record["latency_p50_s"]["value"],
        energy_j=energy["value"] if energy else None,
        peak_power_w=power["value"] if power else None,
        size_bytes=float(size_bytes),
        modelled=record["modelled"],
    )


def _offer(work: Workbench, trained: Trained, runtime: str, precision: str) -> Offer:
    stage = f"offer-{runtime}-{precision}"
    try:
        made = work.run.once(stage, lambda: _made(work, trained, runtime, precision))
    except MissingPackage as exc:  # not kept: it may be there when the command is given again
        return Offer(runtime, precision, f"{exc}; {exc.hint}", {})
    if "left_out" in made:
        return Offer(runtime, precision, made["left_out"], {})
    return Offer(runtime, precision, "", made)


def _made(work: Workbench, trained: Trained, runtime: str, precision: str) -> dict[str, Any]:
    name, tokenizer = f"{runtime} {precision}", trained.tokenizer_json
    work.on_progress(Progress(f"export {name}", 0, 1))
    try:
        graph = export_variants(
            trained.model,
            work.encode(work.check_rows(), tokenizer),
            (precision,),
            trained.folder,
            runtime,
            calibration=work.encode(work.split.train[:CALIBRATION_ROWS], tokenizer),
        )[0]
    except MissingPackage:
        raise
    except ExportError as exc:
        return {"left_out": f"{exc}; {exc.hint}" if exc.hint else str(exc)}
    work.on_progress(Progress(f"export {name}", 1, 1))
    decides = score_graph(
        work, graph, tokenizer, work.split.valid, work.valid_task, f"  held out, {name}"
    )
    reported = score_graph(work, graph, tokenizer, work.split.dev, work.task, f"  score {name}")
    return {
        "variant": dataclasses.asdict(graph.variant),
        "file": graph.path.name,
        "scores": scores_to_json(reported),
        "accuracy_cost": trained.held_out - decides.value,
    }


def _pack(work: Workbench, trained: Trained, offers: tuple[Offer, ...], limit: float) -> Bundle:
    good = [offer for offer in offers if not offer.left_out]
    rows = work.check_rows()[:GOLDEN_ROWS]
    return pack(
        trained.folder / f"{work.served_name}.tar",
        name=work.served_name,
        task=work.task,
        exported=[offer.graph(trained.folder) for offer in good],
        tokenizer_json=trained.tokenizer_json,
        config=trained.model.config,
        rows=rows,
        encoded=work.encode(rows, trained.tokenizer_json),
        claims=[],
        licence=work.seed.licence,
        accuracy_costs={offer.name: offer.accuracy_cost for offer in good},
        max_accuracy_cost=limit,
        origin=origin_of(work),
        notices=work.seed.notices,
    )
