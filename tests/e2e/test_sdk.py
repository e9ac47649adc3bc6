"""The SDK against a real daemon on loopback: every verb, and what survives its death."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import edgetran
import numpy as np
import pytest
from edgetran import Board, Bundle, Progress
from edgetran_protos.bundle import (
    MEDIA_WEIGHT_CONFIG,
    MEDIA_WEIGHTS,
    BundleCard,
    Golden,
    Variant,
    Work,
    digest_of,
    write_bundle,
)

onnx = pytest.importorskip("onnx")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("onnxruntime")
pytest.importorskip("edgetran_daemon.main", reason="needs the daemon's package")

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "bad", "good")
TABLE = np.array([[0, 0], [0, 0], [0, 0], [0, 0], [2, -2], [-2, 2]], np.float32)  # (words, labels)
LENGTH = 8
ROWS = ([2, 4, 3, 0, 0, 0, 0, 0], [2, 5, 3, 0, 0, 0, 0, 0])  # "bad", "good"
VARIANT = "onnxruntime-fp32"


def toy_graph() -> bytes:
    """Sums the rows of TABLE that the words name: a model whose answers are known."""
    helper, types = onnx.helper, onnx.TensorProto
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(n, types.INT64, ["batch", LENGTH]) for n in names]
    output = helper.make_tensor_value_info("logits", types.FLOAT, ["batch", 2])
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=types.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["keep"]),
        helper.make_node("Mul", ["rows", "keep"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    constants = [
        onnx.numpy_helper.from_array(TABLE, "table"),
        onnx.numpy_helper.from_array(np.array([2]), "last"),
        onnx.numpy_helper.from_array(np.array([1]), "middle"),
    ]
    graph = helper.make_graph(nodes, "toy", inputs, [output], constants)
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def toy_tokenizer() -> bytes:
    model = tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    text: str = tokenizer.to_str()
    return text.encode()


def toy_bundle(path: Path, name: str = "mood", golden_shift: float = 0.0) -> Bundle:
    """golden_shift: how wrong the golden answers are; above 1e-3 no board may serve it."""
    graph, tokenizer = toy_graph(), toy_tokenizer()
    work = Work(4e5, 0.0, 1e4, 1e4, 48.0, 5)
    ids = np.array(ROWS)
    logits = (TABLE[ids].sum(1) + golden_shift).tolist()
    card = BundleCard(
        name=name,
        task="classification",
        labels=["sad", "glad"],
        sequence_length=LENGTH,
        tokenizer_digest=digest_of(tokenizer),
        architecture={},
        architecture_id="toy",
        variants=[Variant(VARIANT, "onnxruntime", "fp32", digest_of(graph), len(graph), work, 0.0)],
        golden=Golden(
            [["bad"], ["good"]],
            ids.tolist(),
            (ids != 0).astype(int).tolist(),
            np.zeros_like(ids).tolist(),
            {VARIANT: logits},
            1e-3,
        ),
    )
    files = {
        "model.onnx": (MEDIA_WEIGHTS, graph),
        "tokenizer.json": (MEDIA_WEIGHT_CONFIG, tokenizer),
    }
    return write_bundle(path, card, files)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An EDGETRAN_HOME of its own; the daemons started in it end with it."""
    path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGETRAN_HOME", str(path))
        yield path
        for ready in path.glob("boards/*/ready.json"):
            stop(json.loads(ready.read_text())["pid"])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return toy_bundle(tmp_path_factory.mktemp("bundle") / "mood.tar")


@pytest.fixture
def board(home: Path) -> Iterator[Board]:
    with edgetran.connect("nano", threads=1) as board:
        yield board


@pytest.fixture
def served(board: Board, bundle: Bundle) -> Board:
    board.deploy(bundle)
    return board


def stop(pid: int, how: int = signal.SIGTERM) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return  # it ended by itself


def test_an_emulated_board_says_what_it_is(board: Board) -> None:
    info = board.describe()
    assert (info.board, info.unit, info.emulated, info.threads) == ("jetson-nano", "cpu", True, 1)
    assert "onnxruntime" in [r.name for r in info.runtimes if not r.unavailable]


def test_the_second_caller_gets_the_same_daemon(board: Board) -> None:
    with edgetran.connect("jetson-nano:cpu") as again:
        assert again.address == board.address


def test_other_threads_reach_the_measurement_not_the_running_daemon(
    board: Board, bundle: Bundle
) -> None:
    with edgetran.connect("nano", threads=2) as again:
        assert again.address == board.address
        record = again.measure([(bundle, None)], warmup_runs=1, runs=3, blocks=1, min_block_s=0.01)
    assert record[0].threads == 2

    async def measured() -> int:
        async with edgetran.connect_async(board.address, threads=2) as again:
            (record,) = await again.measure([(bundle, None)], runs=3, blocks=1, min_block_s=0.01)
        return record.threads

    assert asyncio.run(measured()) == 2


def test_deploy_and_predict(board: Board, bundle: Bundle) -> None:
    events: list[Progress] = []
    deployed = board.deploy(bundle, on_progress=events.append)
    assert (deployed.model, deployed.state, deployed.variant) == ("mood", "serving", VARIANT)
    assert deployed.bundle_digest == bundle.digest
    assert {event.stage for event in events} == {"upload", "deploy"}
    steps = [event.detail.partition(":")[0] for event in events if event.stage == "deploy"]
    assert steps == ["verify", "stage", "probe", "canary", "switch", "watch"]
    labels = [p.label for p in board.predict(["good", "bad bad", ("good", "good")])]
    assert labels == ["glad", "sad", "glad"]
    one = board.predict(["good"], model="mood")[0]
    assert one.score == pytest.approx(1 / (1 + np.exp(-4)))  # softmax of (-2, 2)
    assert sum(one.scores.values()) == pytest.approx(1.0)


def test_an_answer_carries_its_times(served: Board) -> None:
    answer = served.answer(["good"])
    assert answer.emulated
    assert answer.infer_s > 0
    assert answer.modelled_infer_s is not None


def test_tensors(served: Board) -> None:
    ids = np.array(ROWS)
    inputs: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": (ids != 0).astype(np.int64),
        "token_type_ids": np.zeros_like(ids),
    }
    logits = served.infer("mood", inputs)["logits"]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, TABLE[ids].sum(1))


def test_texts_as_tensors(served: Board) -> None:
    found = served.infer("mood:text", {"TEXT": np.array([["good"], ["bad bad"]])})
    assert found["LABEL"].tolist() == [[b"glad"], [b"sad"]]
    assert found["SCORES"].shape == (2, 2)


def test_measure(board: Board, bundle: Bundle) -> None:
    events: list[Progress] = []
    records = board.measure(
        [(bundle, VARIANT), (bundle.digest, None)],
        warmup_runs=1,
        runs=3,
        blocks=2,
        min_block_s=0.01,
        on_progress=events.append,
    )
    assert len(records) == 2
    for record in records:
        assert (record.board, record.modelled, record.verdict) == ("jetson-nano", True, "modelled")
        assert record.bundle_digest == bundle.digest
        assert record.variant == VARIANT
        assert record.latency_p50_s is not None
        assert record.energy_j is not None
        assert record.peak_power_w is not None
        assert "modelled=True" in repr(record)
        assert len(repr(record)) < 4000, "without the raw samples and the document"
    assert repr(board) == f"Board({board.address!r})"
    assert {"load", "measure"} <= {event.stage for event in events}


def test_rollback_and_history(board: Board, bundle: Bundle, tmp_path: Path) -> None:
    second = toy_bundle(tmp_path / "second", name="mood-2")
    board.deploy(bundle, model="turn")
    board.deploy(second, model="turn")
    back = board.rollback("turn", reason="trying")
    assert (back.bundle_digest, back.state) == (bundle.digest, "serving")
    serving = {d.model: d.bundle_digest for d in board.deployments() if d.state == "serving"}
    assert serving["turn"] == bundle.digest
    assert len([d for d in board.deployments(history=True) if d.model == "turn"]) > 1
    board.remove("turn")
    assert "turn" not in [d.model for d in board.deployments()]


def test_a_model_that_fails_its_probe_does_not_replace_a_good_one(
    served: Board, tmp_path: Path
) -> None:
    wrong = toy_bundle(tmp_path / "wrong.tar", golden_shift=1.0)
    with pytest.raises(edgetran.ProbeFailed):
        served.deploy(wrong, model="mood")
    assert served.predict(["good"], model="mood")[0].label == "glad"


def test_what_was_only_measured_can_be_dropped(board: Board, tmp_path: Path) -> None:
    guest = toy_bundle(tmp_path / "guest.tar", name="guest")
    board.upload(guest)
    assert board.discard(guest.digest) > 0


def test_mistakes_are_ours_and_carry_a_hint(served: Board, bundle: Bundle) -> None:
    with pytest.raises(edgetran.UnknownModel) as caught:
        served.predict(["good"], model="absent")
    assert caught.value.hint
    with pytest.raises(edgetran.InputError):
        served.infer("mood", {"input_ids": np.zeros((1, LENGTH), np.float32)})
    with pytest.raises(edgetran.InputError, match="larger than max") as large:
        served.infer("mood", {"input_ids": np.zeros((1 << 20, LENGTH + 1), np.int64)})
    assert "--max-message-mb" in large.value.hint
    with pytest.raises(edgetran.UnknownVariant):
        served.deploy(bundle, variant="tpu-int1")
    with pytest.raises(edgetran.UnknownVariant):
        served.measure([(bundle, "tpu-int1")])
    absent = "sha256:" + "0" * 64
    served.deploy(bundle, model="alone")
    refused: list[Callable[[], object]] = [
        lambda: served.infer("mood", {"input_ids": np.zeros((1, LENGTH), np.float32)}),
        lambda: served.measure([(absent, None)]),
        lambda: served.measure([("latest", None)]),
        lambda: served.discard("latest"),
        lambda: served.discard(absent),
        lambda: served.rollback("alone"),
        lambda: served.rollback("absent"),
    ]
    for ask in refused:
        with pytest.raises(edgetran.EdgeTranError) as told:
            ask()
        assert told.value.hint, told.value
    served.remove("alone")


def test_telemetry_can_be_left_at_any_time(board: Board) -> None:
    samples = board.telemetry(period_s=0.05)
    first, second = next(samples), next(samples)
    assert second.monotonic_s > first.monotonic_s
    samples.close()  # type: ignore[attr-defined]
    assert board.describe().emulated


def test_asyncio(served: Board) -> None:
    async def ask() -> tuple[str, str, str]:
        async with edgetran.connect_async(served.address) as board:
            info, found = await asyncio.gather(board.describe(), board.predict(["bad"]))
            try:
                await board.predict(["bad"], model="absent")
            except edgetran.UnknownModel as exc:
                return info.board, found[0].label, exc.hint
        raise AssertionError("an absent model answered")

    board, label, hint = asyncio.run(ask())
    assert (board, label) == ("jetson-nano", "sad")
    assert hint


def test_asyncio_has_the_verbs_that_change_a_board(home: Path, bundle: Bundle) -> None:
    async def work(address: str) -> None:
        async with edgetran.connect_async(address) as board:
            events: list[Progress] = []
            deployed = await board.deploy(bundle, model="first", on_progress=events.append)
            assert (deployed.model, deployed.bundle_digest) == ("first", bundle.digest)
            assert {event.stage for event in events} == {"upload", "deploy"}
            assert events[-1].done == events[-1].total
            (record,) = await board.measure([(bundle, VARIANT)], runs=3, blocks=1)
            assert record.bundle_digest == bundle.digest
            with pytest.raises(edgetran.UsageError):
                await board.rollback("first")
            await board.remove("first")
            assert "first" not in [entry.model for entry in await board.deployments()]

    with edgetran.connect("nano", threads=1) as board:
        asyncio.run(work(board.address))


def test_a_killed_daemon_is_replaced_and_still_serves(home: Path, bundle: Bundle) -> None:
    with edgetran.connect("rpi4", threads=1) as board:
        board.deploy(bundle)
        ready = json.loads((home / "boards" / "rpi4-cpu" / "ready.json").read_text())
        stop(ready["pid"], signal.SIGKILL)
        time.sleep(0.2)  # the socket goes with the process
        with pytest.raises(edgetran.BoardUnreachable):
            board.describe()
    with edgetran.connect("rpi4", threads=1) as again:
        assert again.predict(["good"])[0].label == "glad"
        assert [d.model for d in again.deployments()] == ["mood"]


def test_this_machine_is_measured_not_modelled(home: Path, bundle: Bundle) -> None:
    with edgetran.connect("local", threads=1) as board:
        assert not board.describe().emulated
        subjects = [(bundle, VARIANT), (bundle, None)]
        records = board.measure(subjects, warmup_runs=1, runs=3, blocks=2, min_block_s=0.01)
    for record in records:
        assert (record.board, record.modelled) == ("local", False)
        assert record.verdict in {"valid", "suspect", "invalid"}
        assert len(record.samples_s) >= 6
        assert record.latency_p50_s is not None
        assert 0 < record.latency_p50_s.value < 1
