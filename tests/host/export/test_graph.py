"""An exported graph computes what its model computes, and carries nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edgetran_host.export import run_onnx
from edgetran_host.export.graph import INPUTS, OPSET, OUTPUT, export_graph
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_protos.errors import ExportError

NAMES = ("plain", "mixed", "fixed")


def logits(model: TextModel, rows: Encoded) -> np.ndarray[Any, Any]:
    """(rows, outputs) at full length, as a graph runs."""
    with torch.no_grad():
        tensors = (torch.from_numpy(getattr(rows, name)) for name in INPUTS)
        found: np.ndarray[Any, Any] = model(*tensors).numpy()
    return found


@pytest.mark.parametrize("name", [*NAMES, "first"])
@pytest.mark.parametrize("batch_rows", [1, 2, 5])
def test_equals_the_model(
    sample: Callable[[str], Any], rows: Encoded, name: str, batch_rows: int
) -> None:
    """At any batch; the export was traced with two rows."""
    made = sample(name)
    wanted = logits(made.model, rows)
    assert np.ptp(wanted, axis=0).min() > 0.05  # rows differ: nothing passes by constancy
    found = run_onnx(made.path, rows, batch_rows=batch_rows)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_read(sample: Callable[[str], Any], rows: Encoded, name: str) -> None:
    made = sample(name)
    before = run_onnx(made.path, rows)
    types = rows.token_type_ids
    for changed in (
        Encoded(np.roll(rows.input_ids, 1, axis=0), rows.attention_mask, types, rows.labels),
        Encoded(rows.input_ids, np.ones_like(rows.attention_mask), types, rows.labels),
        Encoded(rows.input_ids, rows.attention_mask, 1 - types, rows.labels),
    ):
        found = run_onnx(made.path, changed)
        np.testing.assert_allclose(found, logits(made.model, changed), atol=1e-4)
        one_type = changed.token_type_ids is not types and name == "fixed"
        assert np.allclose(found, before, atol=1e-3) == one_type


@pytest.mark.parametrize("name", NAMES)
def test_signature(sample: Callable[[str], Any], rows: Encoded, name: str) -> None:
    """Any batch, one length, what the board's runtimes take."""
    graph = onnx.load(sample(name).path)
    onnx.checker.check_model(graph, full_check=True)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]
    assert {node.domain for node in graph.graph.node} == {""}
    session = onnxruntime.InferenceSession(sample(name).path)
    for value in session.get_inputs():
        assert value.type == "tensor(int64)"
        assert value.shape[1] == rows.input_ids.shape[1]
        assert not isinstance(value.shape[0], int)
    assert tuple(value.name for value in session.get_inputs()) == INPUTS
    assert [value.name for value in session.get_outputs()] == [OUTPUT]
    longer = {value: np.ones((1, rows.input_ids.shape[1] + 1), np.int64) for value in INPUTS}
    with pytest.raises(Exception, match=r"(?i)invalid"):
        session.run([OUTPUT], longer)


@pytest.mark.parametrize("name", NAMES)
def test_no_operation_that_boards_lack(sample: Callable[[str], Any], name: str) -> None:
    """Transforms are products, convolutions slices: no FFT, no loop, no gathering by element."""
    graph = onnx.load(sample(name).path).graph
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {"DFT", "STFT", "Loop", "If", "Scan", "GatherND", "GatherElements"}


def test_forms_that_runtimes_make_one_kernel_of(
    sample: Callable[[str], Any], tmp_path: Path
) -> None:
    """Four products by weights a layer, query, key and value being one; a fused GELU."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(sample("plain").path, options)
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    held = {tensor.name for tensor in graph.initializer}
    kinds = [node.op_type for node in graph.node]
    by_weights = [n for n in graph.node if n.op_type == "MatMul" and n.input[1] in held]
    assert len(by_weights) == 4 * 2
    assert "Erf" not in kinds
    assert sum("Gelu" in kind for kind in kinds) == 2


@pytest.mark.parametrize("name", NAMES)
def test_names_no_path_of_this_machine(sample: Callable[[str], Any], root: Path, name: str) -> None:
    data = sample(name).path.read_bytes()
    for trace in (str(root).encode(), b"site-packages", b".py", b"stack_trace"):
        assert trace not in data
    assert not re.search(rb"/(home|root|tmp|usr)/", data)


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_is_little_more_than_its_weights(sample: Callable[[str], Any], name: str) -> None:
    path = sample(name).path
    weights = sum(tensor.ByteSize() for tensor in onnx.load(path).graph.initializer)
    nodes = len(onnx.load(path).graph.node)
    assert path.stat().st_size < weights + 300 * nodes


class TestRefusals:
    def test_a_model_that_is_no_graph(
        self, sample: Callable[[str], Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Its path depends on its numbers."""

        class Undecided(TextModel):
            def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
                logits = super().forward(*tensors)
                return logits if bool(logits.sum() > 0) else -logits

        with pytest.raises(ExportError, match="cannot be expressed in ONNX") as caught:
            export_graph(Undecided(sample("plain").model.config), tmp_path / "model.onnx")
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr() == ("", "")

    def test_a_file_that_is_no_graph(self, rows: Encoded, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(b"no graph")
        with pytest.raises(ExportError, match=r"does not load model\.onnx"):
            run_onnx(tmp_path / "model.onnx", rows)
