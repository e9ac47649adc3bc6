"""Evaluations by real training and real boards, each paid for once.

A pair's costs come first, since they need no training: the untrained design is exported and
measured on its board. One that breaks a limit gets no score. Otherwise the design takes the
teacher's weights, is distilled as far as the fidelity goes, and its exported graph is scored
on held-out rows. A score belongs to the graph, whatever board runs it.

The ledger knows "cost", of a design on a place; "foretold", the same by a surrogate; "training",
of a design at one fidelity; "score", of such a design as one graph.
"""

from __future__ import annotations

import platform
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgetran.progress import OnProgress, Progress, ignore
from edgetran.results import Measurement, Quantity
from edgetran_protos.bundle import Bundle

from edgetran_host.cosearch.assignment import (
    FULL,
    SHORT,
    TRANSFER,
    Assignment,
    training,
    training_cost,
)
from edgetran_host.cosearch.bundle_shelf import BundleShelf
from edgetran_host.cosearch.evaluator import Evaluation, Evaluator, Request
from edgetran_host.cosearch.foretelling import USUAL_WIDTH, Foreteller, undecided, wide
from edgetran_host.cosearch.goal import COSTS, Goal, Limits
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.real_boards import PROTOCOL, Boards
from edgetran_host.cosearch.real_work import Trainee
from edgetran_host.cosearch.seed_space import space_around
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.engine import Engine, Task
from edgetran_host.job.build import artefact_bytes
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.ledger import Ledger
from edgetran_host.models.seeds import load_seed
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.identity import architecture_id
from edgetran_host.vocabulary import can_trim

COST, FORETOLD, TRAINING, SCORE = "cost", "foretold", "training", "score"
WORK = "edgetran_host.cosearch.real_work"
MEASURED, MODELLED = "measured", "modelled"
FIGURES = {
    "latency_s": "latency_p50_s",
    "energy_j": "energy_j",
    "peak_power_w": "peak_power_w",
}


class RealEvaluator(Evaluator):
    """Callers own the ledger and the engine, and close this first."""

    def __init__(
        self,
        assignment: Assignment,
        folder: Path,
        ledger: Ledger,
        engine: Engine,
        limits: Limits | None = None,
        on_progress: OnProgress = ignore,
        boards: Boards | None = None,
        foretell_width: float = USUAL_WIDTH,
    ) -> None:
        """folder: of this search on this machine; engines on others must see it, too.

        foretell_width: of a surrogate's interval, as a share, up to which no board is asked;
        0: boards are always asked. Finds the seed and the boards; trains nothing yet.
        Raises UsageError, BoardError.
        """
        self.assignment = assignment
        self.folder = folder.resolve()
        self.limits = limits or Limits()
        self._ledger, self._engine, self._listener = ledger, engine, on_progress
        self._telling = threading.Lock()
        RunDirectory.create(self.folder, assignment.job())
        seed = load_seed(assignment.seed)
        cuttable = can_trim(seed.tokenizer_json)
        size = assignment.vocabulary
        self.vocabulary = size if cuttable and size and size < seed.config.vocab_size else None
        self.seed = seed.config.architecture
        self._boards = boards or Boards(
            assignment, self.folder / "boards.json", engine.quiet, limits=self.limits
        )
        self._product = ProductSpace(
            space_around(seed.config, seed.name, assignment.more_kinds), self._boards.places()
        )
        self._foretell_width = foretell_width
        self._foreteller = Foreteller(ledger, COST, foretell_width)
        self._shelf = BundleShelf(
            self.folder / "bundles" / str(self.vocabulary or "all"), self._write_bundle
        )
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._preparing = threading.Lock()
        self._prepared: Mapping[str, Any] | None = None

    @property
    def product(self) -> ProductSpace:
        return self._product

    def close(self) -> None:
        self._boards.close()

    def prepare(self) -> Mapping[str, Any]:
        """Fine-tunes the seed, once a folder: data, digest of the seed, the teacher's scores."""
        with self._preparing:
            if self._prepared is None:
                arguments = {
                    "folder": self.folder,
                    "vocabulary": self.vocabulary,
                    "threads": self._engine.threads,
                }
                task = Task(f"{WORK}:prepare", arguments, "teacher")
                self._prepared = self._engine.run(task, self._on_progress)
            return self._prepared

    def references(self) -> Mapping[Place, Outcome]:
        """The fine-tuned seed itself, with the search's vocabulary."""
        return {place: self._reference(place) for place in self._product.places}

    def evaluate(self, request: Request) -> Evaluation:
        self.prepare()
        self._product.space.validate(request.pair.architecture)
        cost = self._cost(request.pair, request.fidelity == FULL)
        found = _outcome(None, cost)
        sources = _sources(cost)
        details: dict[str, Any] = {"cost": _shown(cost)}
        if not _keeps(self.limits, found):
            return Evaluation(found, 0.0, sources, details)
        score, paid = self._score(request)
        details |= {"score": score, "weights": str(self._trainee(request).place)}
        return Evaluation(
            _outcome(score["score"], cost), paid, {**sources, "score": MEASURED}, details
        )

    def _reference(self, place: Place) -> Outcome:
        self.prepare()
        request = Request(Pair(self.seed, place), TRANSFER)
        return _outcome(self._score(request)[0]["score"], self._cost(request.pair, finalist=True))

    def _on_progress(self, event: Progress) -> None:
        """Several evaluations may be under way, each in a thread of its caller."""
        with self._telling:
            self._listener(event)

    # Costs

    def _cost(self, pair: Pair, finalist: bool) -> dict[str, Any]:
        key = self._cost_key(pair)
        found = self._ledger.find(COST, key)
        if found is None and not finalist:
            found = self._foretold(key, pair)
        if found is not None:
            return found
        return self._ledger.pay(COST, key, lambda: self._measure(pair), self._on_progress).value

    def _foretold(self, key: Mapping[str, Any], pair: Pair) -> dict[str, Any] | None:
        """Once foretold, always foretold alike, until it is measured."""
        found = self._ledger.find(FORETOLD, key)
        if found is not None:  # maybe by a search with other limits, or that minded less
            unsure = wide(found, self._foretell_width) or undecided(found, self.limits)
            return None if unsure else found
        found = self._foreteller.cost(key, pair.place.id, pair.architecture, self.limits)
        return None if found is None else self._ledger.put(FORETOLD, key, found)

    def _measure(self, pair: Pair) -> dict[str, Any]:
        place = pair.place
        with self._shelf.bundle(pair.architecture, place.runtime, place.precision) as path:
            bundle = Bundle.open(path)
            _, record = self._boards.measure(place, bundle, self._on_progress)
            size = artefact_bytes(bundle, bundle.card.variants[0].name)
        return {
            **_figures(record),
            "size_bytes": float(size),
            "modelled": record.modelled,
            "verdict": record.verdict,
            "reasons": list(record.reasons),
            "design": pair.architecture.to_dict(),
        }

    def _write_bundle(self, design: Architecture, runtime: str, precision: str, path: Path) -> None:
        trainee = self._trainee(Request(Pair(design, self._product.places[0]), TRANSFER))
        arguments = {
            "trainee": trainee,
            "runtime": runtime,
            "precision": precision,
            "path": path,
        }
        name = f"export of {trainee.name}, {runtime} {precision}"
        self._engine.run(Task(f"{WORK}:write_bundle", arguments, name), self._on_progress)

    def _cost_key(self, pair: Pair) -> dict[str, Any]:
        board = self._boards.known(pair.place)
        runtime = pair.place.runtime
        version = "" if board.emulated else board.runtimes[runtime]
        return {
            "architecture": architecture_id(pair.architecture),
            **self._subject(),
            "board": dict(board.identity),
            "runtime": runtime,
            "version": version,
            "precision": pair.place.precision,
            "protocol": PROTOCOL,
        }

    # Scores

    def _score(self, request: Request) -> tuple[dict[str, Any], float]:
        """And what its training cost, if it was this request that first asked for it."""
        place = request.pair.place
        cost = 0.0 if request.fidelity == TRANSFER else self._train(request, _payer(request))
        trainee = self._trainee(request)
        arguments = {
            "trainee": trainee,
            "runtime": place.runtime,
            "precision": place.precision,
        }
        name = f"score of {trainee.name}, {place.runtime} {place.precision}"
        task = Task(f"{WORK}:score", arguments, name)

        def work() -> dict[str, Any]:
            with self._locks[str(trainee.place)]:
                found: dict[str, Any] = self._engine.run(task, self._on_progress)
                return found

        key = {
            **self._training_key(request),
            "runtime": place.runtime,
            "precision": place.precision,
        }
        return self._ledger.pay(SCORE, key, work, self._on_progress).value, cost

    def _train(self, request: Request, payer: str) -> float:
        """In full trainings; nothing where another request's evaluation paid for it."""
        before = 0.0
        if request.fidelity == FULL:  # which goes on from a short one
            before = self._train(replace(request, fidelity=SHORT), payer)
        trainee = self._trainee(request)
        task = Task(f"{WORK}:train", {"trainee": trainee}, f"training of {trainee.name}")
        rows = self.prepare()["data"]["rows"]
        learnt = rows["train"] + rows["further"] + rows.get("made", 0)

        def work() -> dict[str, Any]:
            with self._locks[str(trainee.place)]:
                spent = self._engine.run(task, self._on_progress)
            return {
                **spent,
                "cost": training_cost(self.assignment.effort, request.fidelity, learnt),
                "payer": payer,
                "host": platform.node(),
                "weights": str(trainee.place),
            }

        found = self._ledger.pay(TRAINING, self._training_key(request), work, self._on_progress)
        return before + (float(found.value["cost"]) if found.value["payer"] == payer else 0.0)

    def _training_key(self, request: Request) -> dict[str, Any]:
        prepared, effort = self.prepare(), self.assignment.effort
        steps = {TRANSFER: (), SHORT: (SHORT,), FULL: (SHORT, FULL)}[request.fidelity]
        plan = [training(effort, step, request.seed) for step in steps]
        return {
            "architecture": architecture_id(request.pair.architecture),
            **self._subject(),
            "fidelity": request.fidelity,
            "seed": request.seed,
            "plan": [{"recipe": asdict(recipe), "rows": rows} for recipe, rows in plan],
            "data": prepared["data"]["digest"],
            "rows": prepared["data"]["rows"],
            "split": self.assignment.random_seed,
            "teacher": {
                "seed": prepared["seed"],
                "recipe": prepared["data"]["effort"]["seed_recipe"],
            },
        }

    def _subject(self) -> dict[str, Any]:
        """What all designs of this search have in common."""
        return {
            "vocabulary": self.vocabulary,
            "sequence_length": self.prepare()["data"]["sequence_length"],
            "pretrained": self.prepare()["seed"],
        }

    def _trainee(self, request: Request) -> Trainee:
        return Trainee(
            self.folder,
            request.pair.architecture,
            self.vocabulary,
            request.fidelity,
            request.seed,
            self._engine.threads,
        )


def _payer(request: Request) -> str:
    """Asked again, as by a search that is resumed, it paid as much as before."""
    return f"{request.pair.id} {request.fidelity}"


def _figures(record: Measurement) -> dict[str, Any]:
    """In SI, each with its interval; None where the board gives none."""
    found: dict[str, Any] = {}
    for name, figure in FIGURES.items():
        quantity: Quantity | None = getattr(record, figure)
        found[name] = quantity.value if quantity else None
        found[f"{name}_interval"] = [quantity.low, quantity.high] if quantity else None
    return found


def _outcome(score: float | None, cost: Mapping[str, Any]) -> Outcome:
    return Outcome(score, **{name: cost[name] for name in COSTS})


def _sources(cost: Mapping[str, Any]) -> dict[str, str]:
    """The bytes of a graph are counted, whatever board it is for."""
    if "modelled" not in cost:
        return {name: FORETOLD for name in COSTS if cost[name] is not None}
    source = MODELLED if cost["modelled"] else MEASURED
    found = {name: source for name in FIGURES if cost[name] is not None}
    return {**found, "size_bytes": MEASURED}


def _shown(cost: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in cost.items() if name != "design"}


def _keeps(limits: Limits, outcome: Outcome) -> bool:
    return Goal({}, 1.0, limits=limits).keeps(outcome)
