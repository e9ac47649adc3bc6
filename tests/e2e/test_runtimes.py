"""One model on a real daemon under every runtime and precision of the table."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import edgetran
import numpy as np
import pytest
from edgetran_host.export import export_variants
from edgetran_host.export.compatibility import CELLS, RUNTIMES
from edgetran_host.packing import pack
from edgetran_host.tasks import Row, Task, encode
from edgetran_host.training.prediction import predict
from edgetran_protos.bundle import Variant, Work, digest_of
from tokenizers import Tokenizer, models, pre_tokenizers

TINY_MODELS = Path(__file__).parents[1] / "host" / "export" / "tiny_models.py"
spec = importlib.util.spec_from_file_location("tiny_models", TINY_MODELS)
assert spec is not None
assert spec.loader is not None
tiny_models = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny_models)

ERROR = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.3, "int8-weights": 0.05}  # logits of order one

BRIEFLY: dict[str, Any] = {"blocks": 2, "runs": 3, "min_block_s": 0.01, "warmup_runs": 2}


def numbered(words: list[str]) -> dict[str, int]:
    return {word: index for index, word in enumerate(words, start=1)}


@pytest.fixture
def board(own_home: Path) -> Iterator[edgetran.Board]:
    with edgetran.connect("local", threads=1) as board:
        yield board


@pytest.mark.parametrize("runtime", [r for r in RUNTIMES if r not in ("tensorrt", "myriad")])
def test_a_bundle_serves_under_every_precision(
    board: edgetran.Board, tmp_path: Path, runtime: str
) -> None:
    tiny_models.skip_without_exporter(runtime)
    model = tiny_models.make_model(tiny_models.MIXED, "relative")
    words = [f"w{index}" for index in range(1, tiny_models.VOCABULARY)]
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, **numbered(words)}, "w1"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer_json = tokenizer.to_str().encode()
    task = Task("abc", "classification", ("a", "b", "c"), False, "accuracy", (), ())
    texts = [Row(" ".join(words[at : at + 3 + at % 9]), None, "a") for at in range(0, 36, 6)]
    rows = encode(tokenizer_json, texts, tiny_models.LENGTH, task)
    training_rows = tiny_models.make_rows(24, seed=1)
    precisions = [precision for name, precision in CELLS if name == runtime]
    exported = export_variants(
        model, rows, precisions, tmp_path, runtime, calibration=training_rows
    )
    bundle = pack(
        tmp_path / "all.tar",
        name="all",
        task=task,
        exported=exported,
        tokenizer_json=tokenizer_json,
        config=model.config,
        rows=texts,
        encoded=rows,
        claims=[],
        licence="",
    )
    wanted = predict(model, rows)
    names = ("input_ids", "attention_mask", "token_type_ids")
    described = {runtime.name: runtime for runtime in board.describe().runtimes}
    for item in exported:
        assert not described[item.variant.runtime].unavailable
        assert described[item.variant.runtime].version
        deployed = board.deploy(bundle, variant=item.variant.name)
        assert (deployed.state, deployed.variant) == ("serving", item.variant.name)
        logits = board.infer("all", {name: getattr(rows, name) for name in names})["logits"]
        np.testing.assert_allclose(logits, wanted, atol=ERROR[item.variant.precision])
    records = board.measure([(bundle.digest, item.variant.name) for item in exported], **BRIEFLY)
    assert [record.variant for record in records] == [item.variant.name for item in exported]
    assert all(record.runtime.startswith(runtime) for record in records)


def test_a_litert_graph_serves_any_batch_and_is_measured(
    board: edgetran.Board, tmp_path: Path, tiny: ModuleType
) -> None:
    """Its graph takes one row; the board takes any number, and says so."""
    pytest.importorskip("ai_edge_litert")
    place = Path(__file__).parents[1] / "daemon" / "tiny_litert.py"
    spec = importlib.util.spec_from_file_location("tiny_litert", place)
    assert spec is not None
    assert spec.loader is not None
    litert = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(litert)
    data = litert.graph(tiny)
    work = Work(24.0, 0.0, 512.0, 48.0, 192.0, 8)
    name = "litert-fp32"
    variant = Variant(name, "litert", "fp32", digest_of(data), len(data), work, 1e-6)
    bundle = tiny.make(tmp_path / "tiny.tar", others=[(variant, data)])
    board.deploy(bundle, model="home", variant=name)
    tokens = tiny.encode(tiny.TEXTS)
    logits = board.infer("home", tokens)["logits"]
    np.testing.assert_allclose(logits, tiny.reference(tokens), atol=1e-5)
    one = {tensor: rows[:1] for tensor, rows in tokens.items()}
    np.testing.assert_allclose(board.infer("home", one)["logits"], logits[:1], atol=1e-6)
    (record,) = board.measure([(bundle.digest, name)], batch_size=3, **BRIEFLY)
    assert (record.variant, record.batch_size) == (name, 3)
    assert record.runtime.startswith("litert ")
