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
    """A step for each output of a matrix, and around zero; one for a whole table."""
    whole, small = constants(sample(name).path), constants(quantised(name))
    found = {key.removesuffix(QUANTISED) for key in small if key.endswith(QUANTISED)}
    assert "embedding.word.weight" in found
    for key in found:
        codes, zero = small[key + QUANTISED], small[f"{key}_zero_point"]
        weight = whole[key]
        step = small[f"{key}_scale"]
        assert codes.dtype.itemsize == 1
        assert (step.size, bool(zero.any())) == (
            (1, True) if key.startswith("embedding") else (weight.shape[1], False)
        )
        assert (np.abs((codes - zero.astype(float)) * step - weight) <= 0.5001 * step).all(), key


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
