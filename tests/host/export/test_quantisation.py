"""8 bits for matrices and tables, floats for all else, and logits that stay near."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edgetran_host.export import run_onnx
from edgetran_host.export.quantisation import TRANSFORM_MARKS, quantise_dynamic
from edgetran_host.export.smoothing import smooth
from edgetran_host.tasks import Encoded
from edgetran_protos.errors import ExportError
from onnx import TensorProto, helper, numpy_helper

NAMES = ("plain", "mixed", "fixed")
TRANSFORMS = {"plain": 0, "mixed": 6, "fixed": 6}  # constant matrices of its transforms
QUANTISED, TURNED = "_quantized", "_Transposed"  # the quantiser's endings
ONCE_A_TEXT = ("classifier.weight", "pooler.weight")


@pytest.fixture
def quantised(sample: Callable[[str], Any], tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        quantise_dynamic(sample(name).path, tmp_path / f"{name}.onnx")
        return tmp_path / f"{name}.onnx"

    return make


def constants(path: Path) -> dict[str, Any]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("name", NAMES)
def test_smaller_and_close(
    sample: Callable[[str], Any], quantised: Callable[[str], Path], rows: Encoded, name: str
) -> None:
    whole, small = sample(name).path, quantised(name)
    assert small.stat().st_size < whole.stat().st_size
    assert onnx.load(small).ByteSize() < 0.7 * onnx.load(whole).ByteSize() or name != "plain"
    wanted, found = run_onnx(whole, rows), run_onnx(small, rows)
    assert 0 < np.abs(found - wanted).max() < 0.15 * np.abs(wanted).max()


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_within_half_a_step(
    sample: Callable[[str], Any], quantised: Callable[[str], Path], name: str
) -> None:
    """A step for each output of a matrix, and for each row of a table; both around zero."""
    whole, small = constants(sample(name).path), constants(quantised(name))
    found = {key.removesuffix(QUANTISED) for key in small if key.endswith(QUANTISED)}
    assert "embedding.word.weight" in found
    for key in found:
        codes, step, weight = small[key + QUANTISED], small[f"{key}_scale"], whole[key]
        assert codes.dtype == np.int8
        assert not small.get(f"{key}_zero_point", np.zeros(1)).any()
        table = key.startswith("embedding")
        assert step.shape == ((len(weight), 1) if table else (weight.shape[1],))
        assert (np.abs(codes * step - weight) <= 0.5001 * step).all(), key


def outlying(sample: Callable[[str], Any], target: Path) -> None:
    """The plain model with one channel of each norm's output fifty times as large."""
    graph = onnx.load(sample("plain").path)
    for tensor in graph.graph.initializer:
        if "norm.weight" in tensor.name:
            gain = numpy_helper.to_array(tensor).copy()
            gain[3] *= 50
            tensor.CopyFrom(numpy_helper.from_array(gain, tensor.name))
    onnx.save(graph, target)


def test_an_outlying_channel_no_longer_costs_the_others(
    sample: Callable[[str], Any], rows: Encoded, tmp_path: Path
) -> None:
    source = tmp_path / "source.onnx"
    outlying(sample, source)
    wanted = run_onnx(source, rows)
    errors = []
    for calibration in (None, rows):
        quantise_dynamic(source, tmp_path / "int8.onnx", calibration)
        errors.append(np.square(run_onnx(tmp_path / "int8.onnx", rows) - wanted).mean())
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("name", NAMES)
def test_smoothing_changes_no_output_before_rounding(
    sample: Callable[[str], Any], rows: Encoded, tmp_path: Path, name: str
) -> None:
    source = tmp_path / "source.onnx"
    if name == "plain":
        outlying(sample, source)
    else:
        source.write_bytes(sample(name).path.read_bytes())
    model = onnx.load(source)
    weights = {t.name for t in model.graph.initializer if len(t.dims) == 2}
    products = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    before = len(model.graph.node)
    smooth(model, products, rows)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) > before or name != "plain"
    onnx.save(model, tmp_path / "smooth.onnx")
    wanted = run_onnx(source, rows)
    found = run_onnx(tmp_path / "smooth.onnx", rows)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("name", NAMES)
def test_what_stays_float(
    sample: Callable[[str], Any], quantised: Callable[[str], Path], name: str
) -> None:
    """Norms, biases, transforms, pooler, classifier; no other matrix stays."""
    whole, small = constants(sample(name).path), constants(quantised(name))
    transforms = [key for key in whole if any(mark in key for mark in TRANSFORM_MARKS)]
    assert len(transforms) == TRANSFORMS[name]
    for key, value in whole.items():
        if value.dtype != np.float32:
            continue
        if key in ONCE_A_TEXT:
            np.testing.assert_array_equal(small[key + TURNED], value.T)
        elif key in transforms or value.ndim != 2:
            np.testing.assert_array_equal(small[key], value)
        elif "slice" not in key:  # the rows of the positions, which are added
            assert key not in small, key


@pytest.mark.parametrize("name", NAMES)
def test_scores_stay_float(
    sample: Callable[[str], Any], quantised: Callable[[str], Path], name: str
) -> None:
    """Products of two activations, and of constants per head, are the same in both graphs."""

    def products(path: Path) -> int:
        held = {key for key, value in constants(path).items() if value.ndim == 2}
        nodes = [n for n in onnx.load(path).graph.node if n.op_type == "MatMul"]
        return sum(not any(name in held for name in node.input) for node in nodes)

    assert products(quantised(name)) == products(sample(name).path) > 0


def test_leaves_source_and_logging_alone(
    sample: Callable[[str], Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source.onnx"
    source.write_bytes(sample("plain").path.read_bytes())
    level = logging.root.level
    quantise_dynamic(source, tmp_path / "int8.onnx")
    assert source.read_bytes() == sample("plain").path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8.onnx", "source.onnx"]
    assert logging.root.level == level
    assert capfd.readouterr() == ("", "")


def test_same_input_same_bytes(sample: Callable[[str], Any], tmp_path: Path) -> None:
    for name in ("one.onnx", "two.onnx"):
        quantise_dynamic(sample("mixed").path, tmp_path / name)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "one.onnx").read_bytes()


def test_a_graph_without_matrices_is_refused(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xyz"]
    nodes = [helper.make_node("MatMul", ["x", "y"], ["z"], name="scores")]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:2], values[2:]), ir_version=9)
    onnx.save(model, tmp_path / "scores.onnx")
    with pytest.raises(ExportError, match="nothing to quantise"):
        quantise_dynamic(tmp_path / "scores.onnx", tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()
