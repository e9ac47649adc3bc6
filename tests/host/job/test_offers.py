"""Every runtime of a board gets its graph, within what accuracy may be lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest
from edgetran import Board
from edgetran_host.export import run_graph
from edgetran_host.export.missing import MissingPackage
from edgetran_host.job import offers as module
from edgetran_host.job.config import Budget
from edgetran_host.job.offers import (
    SEARCHED_RUNTIME,
    USUAL_LIMIT,
    Offer,
    Offers,
    Trained,
    fastest,
    make_offers,
    table,
)
from edgetran_host.job.workbench import Workbench
from edgetran_host.tasks import score
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import BudgetError

from tests.host import tiny_job


@dataclasses.dataclass(frozen=True)
class Runtime:
    name: str
    unavailable: str = ""


@dataclasses.dataclass(frozen=True)
class Described:
    runtimes: tuple[Runtime, ...]


class BoardWith:
    """What `make_offers` asks of a board."""

    def __init__(self, *runtimes: Runtime) -> None:
        self._runtimes = runtimes

    def describe(self) -> Described:
        return Described(self._runtimes)


ONE = BoardWith(Runtime("onnxruntime"), Runtime("openvino", "not installed"))
THREE = BoardWith(Runtime("onnxruntime"), Runtime("openvino"), Runtime("litert"))


def workbench(path: Path, board: BoardWith, **asked: Any) -> Workbench:
    return tiny_job.workbench(path, cast(Board, board), target="local", **asked)


def trained(work: Workbench, held_out: float = 0.0, precision: str = "int8") -> Trained:
    """What it says is arbitrary but always the same."""
    return Trained(*tiny_job.teacher(work), precision, held_out, work.run.folder("chosen"))


def already(work: Workbench, name: str, accuracy_cost: float, like: str) -> None:
    """As if `like`'s graph had lost so much."""
    found = work.run.stage(f"offer-{like}")
    assert found is not None
    work.run.finish(f"offer-{name}", {**found, "accuracy_cost": accuracy_cost})


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workbench, Offers]:
    """Offers of a model for three runtimes, one of which this host cannot export for."""
    work = workbench(tmp_path_factory.mktemp("offers") / "run", THREE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGETRAN_LITERT_PYTHON", "")
        patch.setattr("edgetran_host.export.litert.find_spec", lambda name: None)
        return work, make_offers(work, trained(work))


def test_a_graph_for_each_runtime_or_the_reason_why_not(three: tuple[Workbench, Offers]) -> None:
    _, offers = three
    packed = [offer.name for offer in offers.packed]
    assert packed == ["onnxruntime-int8", "openvino-int8", "openvino-int8-weights"]
    (missing,) = (offer for offer in offers.every if offer.left_out)
    assert missing.name == "litert-int8"
    assert "pip install litert-torch" in missing.left_out
    assert [v.name for v in offers.bundle.card.variants] == packed
    assert set(offers.bundle.card.golden.logits) == set(packed)


def test_what_each_loses_is_what_its_graph_answers(three: tuple[Workbench, Offers]) -> None:
    work, offers = three
    made = trained(work)
    for offer in offers.packed:
        graph = offer.graph(made.folder)
        rows = work.encode(work.split.valid, made.tokenizer_json)
        outputs = run_graph(graph.variant.runtime, graph.path, rows)
        assert offer.accuracy_cost == made.held_out - score(work.valid_task, outputs).value
        card = offers.bundle.card.variant(offer.name)
        assert card.accuracy_cost == offer.accuracy_cost
        assert graph.variant.digest == card.digest
    assert offers.bundle.card.max_accuracy_cost == USUAL_LIMIT


def test_what_could_be_made_is_not_made_twice(
    three: tuple[Workbench, Offers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lacked a package is tried again: it may have been installed meanwhile."""
    work, offers = three
    tried = []

    def export(*arguments: Any, **named: Any) -> None:
        tried.append(arguments[4])
        raise MissingPackage("still not installed", hint="pip install it")

    monkeypatch.setattr(module, "export_variants", export)
    again = make_offers(work, trained(work))
    assert again.bundle.digest == offers.bundle.digest
    assert tried == ["litert"]
    assert [o.left_out for o in again.every if o.left_out] == [
        "still not installed; pip install it"
    ]


def test_the_searched_graph_widens_the_usual_limit(three: tuple[Workbench, Offers]) -> None:
    work, _ = three
    kept = {offer: work.run.stage(f"offer-{offer}") for offer in ("onnxruntime-int8",)}
    try:
        already(work, "onnxruntime-int8", 0.05, like="onnxruntime-int8")
        offers = make_offers(work, trained(work))
        assert offers.bundle.card.max_accuracy_cost == 0.05
        assert "onnxruntime-int8" in [offer.name for offer in offers.packed]
    finally:
        for name, found in kept.items():
            assert found is not None
            work.run.finish(f"offer-{name}", found)


def test_what_loses_more_than_was_asked_for_is_replaced(tmp_path: Path) -> None:
    work = workbench(tmp_path / "run", ONE, max_accuracy_cost=0.004)
    made = trained(work)
    with pytest.raises(BudgetError, match=r"onnxruntime-int8 loses 100\.00 .*onnxruntime-fp32"):
        make_offers(work, dataclasses.replace(made, held_out=1.0 + _score(work, made)))
    already(work, "onnxruntime-fp32", 0.004, like="onnxruntime-fp32")
    offers = make_offers(work, made)
    assert [offer.name for offer in offers.packed] == ["onnxruntime-fp32"]
    (out,) = (offer for offer in offers.every if offer.left_out)
    assert (out.name, out.left_out) == (
        "onnxruntime-int8",
        "loses 100.00 points on held-out rows, at most 0.40 are allowed",
    )
    assert Bundle.open(offers.bundle.path).card.max_accuracy_cost == 0.004


def _score(work: Workbench, made: Trained) -> float:
    """Of the int8 graph on the held-out rows."""
    offers = make_offers(workbench(work.run.path.with_name("other"), ONE), made)
    return -offers.offer(f"{SEARCHED_RUNTIME}-int8").accuracy_cost


def record(latency_s: float, energy_j: float | None = None) -> dict[str, Any]:
    return {
        "latency_p50_s": {"value": latency_s, "low": None, "high": None},
        "energy_j": None if energy_j is None else {"value": energy_j, "low": None, "high": None},
        "peak_power_w": None,
        "modelled": False,
    }


class TestServing:
    def test_the_fastest_within_the_limits(self, three: tuple[Workbench, Offers]) -> None:
        _, offers = three
        names = [offer.name for offer in offers.packed]
        records = dict(zip(names, (record(0.03, 0.1), record(0.01, 0.3), record(0.02, 0.1))))
        assert fastest(offers, records, Budget()) == names[1]
        assert fastest(offers, records, Budget(max_energy_j=0.2)) == names[2]
        small = float(min(map(offers.size_bytes, names)))
        first = min(names, key=offers.size_bytes)
        assert fastest(offers, records, Budget(max_size_bytes=small)) == first
        with pytest.raises(BudgetError) as caught:
            fastest(offers, records, Budget(max_latency_s=0.005))
        assert all(name in str(caught.value) for name in names)
        assert "nothing was deployed" in caught.value.hint

    def test_the_table_tells_all(self, three: tuple[Workbench, Offers]) -> None:
        _, offers = three
        records = {offer.name: record(0.01) for offer in offers.packed}
        lines = table(offers, records, "openvino-int8")
        assert [line["variant"] for line in lines if line["serves"]] == ["openvino-int8"]
        assert [line["variant"] for line in lines if line["left_out"]] == ["litert-int8"]
        for line in lines:
            offer = Offer(*line["variant"].split("-", 1), line["left_out"], {})
            assert offer.name == line["variant"]
            assert bool(line["left_out"]) == (line["artefact_bytes"] is None)
