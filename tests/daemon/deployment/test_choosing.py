"""A board that is told no variant serves the fastest that keeps the card's limit, and says why."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import psutil
import pytest
from edgetran_daemon.deployment.choosing import Choice, choose
from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.deployment.ledger import Ledger
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.bundles import BundleStore
from edgetran_devices import UnitModel, load_board
from edgetran_protos.bundle import Bundle, Variant, Work, digest_of
from edgetran_protos.errors import ProbeFailed
from onnx import helper

SLOW, FAST = "onnxruntime-slow", "onnxruntime-fp32"
LIMIT = 0.01
IDLE_NODES = 3000  # they add nothing to the logits and much to the time


def slow_graph(tiny: ModuleType) -> bytes:
    """The tiny model's logits, after a detour that no optimiser may skip."""
    model = onnx.load_from_string(tiny.graph())
    graph = model.graph
    graph.node[-1].output[0] = "early"
    for at in range(IDLE_NODES):
        source = "early" if not at else f"detour-{at - 1}"
        target = "logits" if at == IDLE_NODES - 1 else f"detour-{at}"
        kind = ("Sinh", "Asinh")[at % 2]
        graph.node.append(helper.make_node(kind, [source], [target]))
    return bytes(model.SerializeToString())


def variant(name: str, data: bytes, cost: float | None, **changes: Any) -> Variant:
    work = Work(24.0, 0.0, 512.0, 48.0, 192.0, 8)
    made = Variant(name, "onnxruntime", "fp32", digest_of(data), len(data), work, 1e-4, cost)
    return dataclasses.replace(made, **changes)


def stored(state: Path, bundle: Bundle) -> BundleStore:
    store = BundleStore(BlobStore(state, reserve_bytes=0))
    for blob in bundle.transfer_blobs():
        if not store.blobs.has(blob.digest):
            with store.blobs.arriving(blob.digest, blob.size_bytes, 0) as arrival:
                arrival.write(bundle.read(blob.digest))
                arrival.finish()
    return store


def chosen(store: BundleStore, bundle: Bundle, unit: UnitModel | None = None) -> Choice:
    return asyncio.run(choose(store, store.open(bundle.digest), "", 1, unit))


Make = Callable[..., Bundle]


@pytest.fixture
def make(tmp_path: Path, tiny: ModuleType) -> Make:
    """A bundle whose first variant is FAST and whose others are given."""

    def build(*others: tuple[Variant, bytes], limit: float | None = LIMIT) -> Bundle:
        found: Bundle = tiny.make(
            tmp_path / f"bundle-{len(others)}-{limit}",
            others=others,
            max_accuracy_cost=limit,
            accuracy_cost=0.0,
        )
        return found

    return build


def workers() -> list[int]:
    """Of this process: other tests leave daemons of theirs."""
    alive = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p.pid for p in alive if "edgetran_daemon.worker" in p.cmdline()]


def test_the_fastest_is_measured_and_every_figure_is_told(
    make: Make, tmp_path: Path, tiny: ModuleType
) -> None:
    data = slow_graph(tiny)
    bundle = make((variant(SLOW, data, 0.0), data))
    found = chosen(stored(tmp_path / "state", bundle), bundle)
    assert found.variant.name == FAST
    assert not found.modelled
    assert 0 < found.latencies_s[FAST] < found.latencies_s[SLOW]
    assert set(found.latencies_s) == {FAST, SLOW}
    assert str(found).startswith("fastest of 2 measured with 1 threads: " + FAST)
    assert SLOW in str(found)
    assert workers() == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"accuracy_cost": 0.02}, "costs 0.02"),
        ({"accuracy_cost": None}, "not on the card"),
        ({"runtime": "abacus"}, "no runtime abacus"),
    ],
)
def test_what_may_not_serve_is_left_out_with_the_reason(
    make: Make, tmp_path: Path, tiny: ModuleType, changes: dict[str, Any], why: str
) -> None:
    data = slow_graph(tiny)
    bundle = make((variant(SLOW, data, 0.0, **changes), data))
    found = chosen(stored(tmp_path / "state", bundle), bundle)
    assert found.variant.name == FAST
    assert why in found.left_out[SLOW]
    assert str(found) == "", "one alone was not compared"


def test_a_graph_that_cannot_run_is_left_out(make: Make, tmp_path: Path) -> None:
    bundle = make((variant(SLOW, b"none", 0.0), b"none"))
    found = chosen(stored(tmp_path / "state", bundle), bundle)
    assert found.variant.name == FAST
    assert "is no ONNX" in found.left_out[SLOW]
    assert workers() == []


def test_without_a_limit_the_card_s_order_decides(
    make: Make, tmp_path: Path, tiny: ModuleType
) -> None:
    data = slow_graph(tiny)
    bundle = make((variant(SLOW, data, 0.0), data), limit=None)
    found = chosen(stored(tmp_path / "state", bundle), bundle)
    assert (found.variant.name, str(found)) == (FAST, "")


def test_an_emulated_board_s_model_decides_and_says_so(
    make: Make, tmp_path: Path, tiny: ModuleType
) -> None:
    """The graph that is slow here has less work on its card, and the board is not here."""
    data = slow_graph(tiny)
    less = Work(1.0, 0.0, 1.0, 1.0, 1.0, 1)
    bundle = make(
        (variant(SLOW, data, 0.0, work=less), data),
        (variant("openvino-fp32", b"ov", 0.0, runtime="openvino", work=less), b"ov"),
    )
    unit = load_board("jetson-nano").units["cpu"]
    found = chosen(stored(tmp_path / "state", bundle), bundle, unit)
    assert (found.variant.name, found.modelled) == (SLOW, True)
    assert "the emulated board has no openvino" in found.left_out["openvino-fp32"]
    assert str(found).startswith("fastest of 2 modelled: " + SLOW)


def test_each_variant_is_held_to_its_own_tolerance(tmp_path: Path, tiny: ModuleType) -> None:
    """What an 8-bit graph may be off by is too much for a float one in the same bundle."""
    rough = variant("onnxruntime-int8", tiny.graph(), None, precision="int8")
    bundle = tiny.make(
        tmp_path / "bundle",
        wrong_by=0.1,
        others=[(rough, tiny.graph())],
        tolerances={FAST: 1e-4, rough.name: 0.2},
    )
    state = tmp_path / "state"
    store = stored(state, bundle)

    async def work() -> None:
        board = Deployments(store, Ledger(state / "deployments.json"), threads=1)
        try:
            with pytest.raises(ProbeFailed, match=r"accepted are 0\.0001"):
                _ = [event async for event in board.deploy("home", bundle.digest, FAST)]
            _ = [event async for event in board.deploy("home", bundle.digest, rough.name)]
            assert board.model("home")[1].variant.name == rough.name
        finally:
            await board.close()

    run(work())


def run(work: Awaitable[Any]) -> Any:
    async def whole() -> Any:
        return await work

    return asyncio.run(whole())


def test_the_choice_is_kept_shown_and_not_made_again(
    make: Make, tmp_path: Path, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = slow_graph(tiny)
    bundle = make((variant(SLOW, data, 0.0), data))
    state = tmp_path / "state"
    store = stored(state, bundle)

    async def work() -> str:
        first = Deployments(store, Ledger(state / "deployments.json"), threads=1)
        events = [event async for event in first.deploy("home", bundle.digest, "")]
        (staged,) = [event for event in events if event.step == "stage"]
        assert "fastest of 2 measured" in staged.detail
        (record,) = first.list(history=False)
        await first.close()

        async def never(*_: object) -> None:
            raise AssertionError("measured again")

        monkeypatch.setattr("edgetran_daemon.deployment.choosing._measured", never)
        again = Deployments(store, Ledger(state / "deployments.json"), threads=1)
        await again.restore()
        (restored,) = again.list(history=False)
        _, served = again.model("home")
        assert served.variant.name == record.variant == restored.variant == FAST
        assert restored.reason == record.reason
        _ = [event async for event in again.deploy("home", bundle.digest, SLOW)]
        (told,) = again.list(history=False)
        await again.close()
        assert told.variant == SLOW
        assert "fastest" not in told.reason, "told, not chosen"
        return record.reason

    assert "fastest of 2 measured with 1 threads: " + FAST in run(work())
