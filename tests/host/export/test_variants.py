"""What `export_variants` says of a graph is true, and a graph that is wrong gets no name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edgetran_host.export import count_work, export_variants, run_onnx, variants
from edgetran_host.export.compatibility import cell
from edgetran_host.export.variants import _checked
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_host.training import predict
from edgetran_protos.bundle import digest_of
from edgetran_protos.errors import ExportError
from onnx import numpy_helper

Tamper = Callable[[onnx.GraphProto], None]


@pytest.fixture
def export(
    sample: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Tamper | None], TextModel]:
    """The plain model, whose graph, exported once for all tests, comes out tampered with."""

    def prepare(tamper: Tamper | None = None) -> TextModel:
        made = sample("plain")

        def copy(model: TextModel, path: Path) -> None:
            assert model is made.model
            shutil.copyfile(made.path, path)
            if tamper is not None:
                graph = onnx.load(path)
                tamper(graph.graph)
                onnx.save(graph, path)

        monkeypatch.setattr(variants, "export_graph", copy)
        model: TextModel = made.model
        return model

    return prepare


def add_to_bias(amount: float) -> Tamper:
    def tamper(graph: onnx.GraphProto) -> None:
        (tensor,) = (t for t in graph.initializer if t.name == "classifier.bias")
        value = numpy_helper.to_array(tensor) + np.float32(amount)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))

    return tamper


def swap_inputs(graph: onnx.GraphProto) -> None:
    """Mask and types change places."""
    other = {"attention_mask": "token_type_ids", "token_type_ids": "attention_mask"}
    for node in graph.node:
        node.input[:] = [other.get(name, name) for name in node.input]


def drop_masks(graph: onnx.GraphProto) -> None:
    """Padding is attended to: MASKED, -10000, becomes nothing."""
    for tensor in graph.initializer:
        if numpy_helper.to_array(tensor).size == 1 and numpy_helper.to_array(tensor) == -10000:
            tensor.CopyFrom(numpy_helper.from_array(np.float32(0), tensor.name))


def test_what_a_variant_says(
    export: Callable[..., TextModel], rows: Encoded, tmp_path: Path
) -> None:
    model = export()
    found = export_variants(model, rows, ("int8", "fp32"), tmp_path)
    assert [item.variant.name for item in found] == ["onnxruntime-int8", "onnxruntime-fp32"]
    wanted = predict(model, rows)
    for item in found:
        variant, data = item.variant, item.path.read_bytes()
        assert item.path == tmp_path / f"model-{variant.precision}.onnx"
        assert (variant.digest, variant.size_bytes) == (digest_of(data), len(data))
        assert variant.work == count_work(item.path)
        np.testing.assert_array_equal(item.logits, run_onnx(item.path, rows))
        assert variant.max_abs_error == np.abs(item.logits - wanted).max()
    assert found[1].variant.max_abs_error < 1e-4 < found[0].variant.max_abs_error
    assert sorted(tmp_path.iterdir()) == sorted(item.path for item in found)


def test_the_same_again(export: Callable[..., TextModel], rows: Encoded, tmp_path: Path) -> None:
    model = export()
    one = export_variants(model, rows, ("fp32", "int8"), tmp_path)
    other = export_variants(model, rows, ("fp32", "int8"), tmp_path)
    assert [item.variant for item in one] == [item.variant for item in other]


@pytest.mark.parametrize(
    ("precision", "tamper"),
    [
        ("fp32", add_to_bias(0.01)),
        ("fp32", add_to_bias(np.nan)),
        ("fp32", add_to_bias(np.inf)),
        ("fp32", swap_inputs),
        ("fp32", drop_masks),
        ("int8", add_to_bias(20.0)),
        ("int8", add_to_bias(np.nan)),
    ],
)
def test_a_graph_that_was_tampered_with_is_refused(
    export: Callable[..., TextModel], rows: Encoded, tmp_path: Path, precision: str, tamper: Tamper
) -> None:
    """And the good one of before stays in its place."""
    path = tmp_path / f"model-{precision}.onnx"
    path.write_bytes(b"the one before")
    with pytest.raises(ExportError, match=f"the {precision} graph's logits leave") as caught:
        export_variants(export(tamper), rows, (precision,), tmp_path)
    assert f"on {len(rows)} rows" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the one before"


@pytest.mark.parametrize(("turned", "passes"), [(1, True), (8, False)])
def test_8_bits_may_turn_single_rows(turned: int, passes: bool) -> None:
    """One that a saturated model hardly decides says nothing about the graph; many do."""
    rng = np.random.default_rng(3)
    wanted = (4 * np.sign(rng.normal(size=(16, 1))) * [[1, -1]]).astype(np.float32)
    logits = wanted.copy()
    logits[:turned] *= -0.2
    if passes:
        found = _checked(logits, wanted, "int8", cell("onnxruntime", "int8"))
        assert found == pytest.approx(4.8)
        return
    with pytest.raises(ExportError, match="on average on 16 rows"):
        _checked(logits, wanted, "int8", cell("onnxruntime", "int8"))


def test_tolerance_is_a_share_of_the_largest_logit(
    export: Callable[..., TextModel], rows: Encoded, tmp_path: Path
) -> None:
    largest = float(np.abs(predict(export(), rows)).max())
    assert largest > 1
    (found,) = export_variants(export(add_to_bias(0.9e-4 * largest)), rows, ("fp32",), tmp_path)
    assert found.variant.max_abs_error == pytest.approx(0.9e-4 * largest, rel=0.05)
    with pytest.raises(ExportError):
        export_variants(export(add_to_bias(1.1e-4 * largest)), rows, ("fp32",), tmp_path)
