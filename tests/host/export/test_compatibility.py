"""Every cell of the table: exported, run by the board's runtime, held against the model."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran_daemon.runtimes import RUNTIMES as DAEMON_RUNTIMES
from edgetran_daemon.runtimes import runtime_class
from edgetran_host.export import count_work, export_variants, run_graph
from edgetran_host.export.compatibility import CELLS, RUNTIMES, cell, document
from edgetran_host.export.graph import export_graph
from edgetran_host.export.openvino import export_openvino
from edgetran_host.export.openvino_work import count_openvino_work
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import HEAD_KINDS
from edgetran_host.tasks import Encoded
from edgetran_host.training.prediction import predict
from edgetran_protos.errors import ExportError, UsageError

TINY_MODELS = Path(__file__).with_name("tiny_models.py")
spec = importlib.util.spec_from_file_location("tiny_models", TINY_MODELS)
assert spec is not None
assert spec.loader is not None
tiny_models = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny_models)

ROWS = tiny_models.make_rows()
TRAINING_ROWS = tiny_models.make_rows(24, seed=1)
TENSORS = {n: getattr(ROWS, n) for n in ("input_ids", "attention_mask", "token_type_ids")}
ERROR = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.3, "int8-weights": 0.05}  # logits of order one


def precisions_of(runtime: str) -> list[str]:
    return [precision for name, precision in CELLS if name == runtime]


def check_every_cell(model: TextModel, runtime: str, folder: Path) -> None:
    """The board's runtime gives the model's logits, many rows at once and one by one."""
    tiny_models.skip_without_exporter(runtime)
    wanted = predict(model, ROWS)
    assert 0.3 < np.abs(wanted).max() < 5
    for exported in export_variants(
        model, ROWS, precisions_of(runtime), folder, runtime, calibration=TRAINING_ROWS
    ):
        allowed = ERROR[exported.variant.precision]
        assert exported.path.stat().st_size == exported.variant.size_bytes
        assert exported.variant.max_abs_error <= allowed
        # Of the runtimes of absent hardware, tests/contracts/test_device_runtimes.py tells.
        stands_in = "onnxruntime" if runtime in ("tensorrt", "myriad") else runtime
        on_board = runtime_class(stands_in)(str(exported.path), threads=1)
        together = on_board.run(TENSORS)["logits"]
        np.testing.assert_allclose(together, wanted, atol=allowed)
        for at in range(len(ROWS)):
            alone = on_board.run({name: t[at : at + 1] for name, t in TENSORS.items()})["logits"]
            np.testing.assert_allclose(alone[0], wanted[at], atol=allowed)
            np.testing.assert_allclose(alone[0], exported.logits[at], atol=1e-5)
    found = {path.name for path in folder.iterdir()}
    assert found == {f"model-{p}{cell(runtime, p).suffix}" for p in precisions_of(runtime)}


@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize(
    "runtime",  # a graph for the stick is one for TensorRT
    [pytest.param(r, marks=pytest.mark.slow) if r == "myriad" else r for r in RUNTIMES],
)
def test_all_head_kinds_widths_and_stacks_in_one_model(
    runtime: str, positions: str, tmp_path: Path
) -> None:
    model = tiny_models.make_model(tiny_models.MIXED, positions)
    check_every_cell(model, runtime, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize("kind", HEAD_KINDS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_each_head_kind(runtime: str, kind: str, positions: str, tmp_path: Path) -> None:
    model = tiny_models.make_model(tiny_models.one_kind(kind), positions, "mean")
    check_every_cell(model, runtime, tmp_path)


def test_the_board_has_a_runtime_for_every_name_of_the_table() -> None:
    assert set(RUNTIMES) == set(DAEMON_RUNTIMES)


def test_the_document_is_the_table(root: Path) -> None:
    written = (root / "docs" / "compatibility.md").read_text(encoding="utf-8")
    assert written == document(), "write document() to docs/compatibility.md"


@pytest.mark.parametrize(
    ("runtime", "precision", "known"),
    [("abacus", "fp32", "openvino"), ("onnxruntime", "fp16", "int8"), ("openvino", "", "fp16")],
)
def test_what_is_not_in_the_table_is_refused_with_what_is(
    runtime: str, precision: str, known: str, tmp_path: Path
) -> None:
    model = tiny_models.make_model(tiny_models.one_kind("sa_sdp"), "absolute")
    with pytest.raises(UsageError) as caught:
        export_variants(model, ROWS, [precision], tmp_path, runtime)
    assert known in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_weight_that_fp16_cannot_hold_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    model = tiny_models.make_model(tiny_models.one_kind("sa_sdp"), "absolute")
    with torch.no_grad():
        model.classifier.weight[0, 0] = 1e6  # fp16 ends at 65504
    with pytest.raises(ExportError, match="fp16"):
        export_variants(model, ROWS, ["fp16"], tmp_path, "openvino")
    assert not list(tmp_path.iterdir())


def test_activations_are_scaled_on_the_rows_for_it_and_not_on_those_to_check_with(
    tmp_path: Path,
) -> None:
    model = tiny_models.make_model(tiny_models.one_kind("sa_sdp"), "absolute")
    other_rows = tiny_models.make_rows(6, seed=2)

    def logits(check: Encoded, calibration: Encoded | None) -> np.ndarray:
        (found,) = export_variants(
            model, check, ["int8"], tmp_path, "openvino", calibration=calibration
        )
        return run_graph("openvino", found.path, ROWS)

    wanted = logits(ROWS, TRAINING_ROWS)
    np.testing.assert_array_equal(logits(other_rows, TRAINING_ROWS), wanted)
    assert (logits(ROWS, other_rows) != wanted).any()
    for nothing in (None, TRAINING_ROWS[:0]):
        with pytest.raises(UsageError, match="training set"):
            logits(ROWS, nothing)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "source.onnx"
    export_graph(tiny_models.make_model(tiny_models.MIXED, "relative"), path)
    return path


def test_the_work_of_an_openvino_graph(source: Path, tmp_path: Path) -> None:
    onnx, found = count_work(source), {}
    for precision in precisions_of("openvino"):
        path = tmp_path / precision
        export_openvino(source, precision, path, TRAINING_ROWS)
        work = found[precision] = count_openvino_work(path, onnx)
        assert work.matmul_flops + work.int8_ops == onnx.matmul_flops
    assert found["fp32"].int8_ops == found["fp16"].int8_ops == found["int8-weights"].int8_ops == 0
    assert found["int8"].int8_ops > 0.5 * onnx.matmul_flops
    assert found["fp32"].embedding_bytes == onnx.embedding_bytes
    assert found["fp16"].embedding_bytes == onnx.embedding_bytes / 2
    assert found["fp32"].weight_bytes == pytest.approx(onnx.weight_bytes, rel=0.05)
    assert found["fp16"].weight_bytes == pytest.approx(onnx.weight_bytes / 2, rel=0.1)  # shapes
    assert found["int8-weights"].weight_bytes < 0.6 * onnx.weight_bytes


@pytest.fixture
def nncf_loaded() -> None:
    """Before a test begins: pytest then hangs its own handlers on NNCF's logger."""
    importlib.import_module("nncf")


def test_quantising_silences_nobody_else(
    nncf_loaded: None, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """NNCF's own set_log_level would: it sets every handler's level."""
    export_openvino(source, "int8", tmp_path / "int8", ROWS)
    logging.getLogger("anybody").warning("still heard")
    assert "still heard" in caplog.text


BEHIND_CLOSED_DOORS = """
import sys
from pathlib import Path
import numpy as np
from edgetran_daemon.runtimes import runtime_class
from edgetran_host.export.openvino import export_openvino
from edgetran_host.tasks import Encoded

source, made = map(Path, sys.argv[1:])
rows = np.ones((2, 16), np.int64)
if source.suffix == ".onnx":
    export_openvino(source, "int8", made, Encoded(rows, rows, rows * 0, rows[:, 0]))
else:
    runtime_class("openvino")(str(source), 1)
print(sys.modules["openvino_telemetry"])
"""


def test_nobody_is_told(source: Path, tmp_path: Path) -> None:
    """Neither export nor board reports its use, or leaves an identity to report with."""
    home, made = tmp_path / "home", tmp_path / "made.tar"
    home.mkdir()
    for given in (source, made):
        done = subprocess.run(
            [sys.executable, "-c", BEHIND_CLOSED_DOORS, given, made],
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "None\n"
        assert not (home / "intel").exists()
