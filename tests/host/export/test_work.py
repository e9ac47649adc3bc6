"""Work counts against counts by hand: of small graphs node by node, of models by formula."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edgetran_host.export import count_work
from edgetran_host.export.quantisation import quantise_dynamic
from edgetran_host.models.config import ModelConfig
from edgetran_host.space.architecture import Layer
from edgetran_protos.bundle import Work
from edgetran_protos.errors import ExportError
from onnx import TensorProto, helper, numpy_helper

NAMES = ("plain", "mixed", "fixed", "first")


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[object]],
    outputs: dict[str, Sequence[object]],
    **constants: Any,
) -> Path:
    """All inputs and outputs are floats."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def zeros(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float32)


class TestByHand:
    def test_a_dense_layer(self, tmp_path: Path) -> None:
        """(1, 8, 4) by (4, 6), plus a bias, through a tanh."""
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("Add", ["y", "b"], ["z"]),
            helper.make_node("Tanh", ["z"], ["t"]),
        ]
        shape = ("batch", 8, 4)
        path = save(
            tmp_path / "m.onnx",
            nodes,
            {"x": shape},
            {"t": ("batch", 8, 6)},
            w=zeros(4, 6),
            b=zeros(6),
        )
        assert count_work(path) == Work(
            matmul_flops=2 * 8 * 4 * 6,
            int8_ops=0,
            elementwise_bytes=4 * (2 * 8 * 6 + 2 * 8 * 6),  # each reads one tensor, writes one
            weight_bytes=4 * (4 * 6 + 6),
            embedding_bytes=0,
            kernel_launches=3,
        )

    def test_a_convolution_and_a_free_operation(self, tmp_path: Path) -> None:
        """4 channels in 2 groups become 6, over 3 taps and 7 places."""
        nodes = [
            helper.make_node("Conv", ["c", "k"], ["d"], group=2, pads=[1, 1]),
            helper.make_node("Identity", ["d"], ["e"]),
        ]
        path = save(
            tmp_path / "m.onnx", nodes, {"c": ("n", 4, 7)}, {"e": ("n", 6, 7)}, k=zeros(6, 2, 3)
        )
        found = count_work(path)
        assert found.matmul_flops == 2 * (6 * 7) * (2 * 3)
        assert found.weight_bytes == 4 * 6 * 2 * 3
        assert found.elementwise_bytes == 0
        assert found.kernel_launches == 1

    def test_shapes_that_contradict_the_graph_are_refused(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
        path = save(tmp_path / "m.onnx", nodes, {"x": ("n", 8)}, {"y": ("n", 3)}, w=zeros(7, 3))
        with pytest.raises(ExportError, match=r"shapes of m\.onnx are inconsistent") as caught:
            count_work(path)
        assert "\n" not in str(caught.value)

    def test_gemm_reads_its_depth_from_the_side_that_is_summed(self, tmp_path: Path) -> None:
        """(1, 4) becomes (4, 1), is turned, and meets (4, 3)."""
        nodes = [
            helper.make_node("Reshape", ["x", "column"], ["y"]),
            helper.make_node("Gemm", ["y", "w"], ["z"], transA=1),
        ]
        constants = {"w": zeros(4, 3), "column": np.array([4, 1])}
        path = save(tmp_path / "m.onnx", nodes, {"x": ("n", 4)}, {"z": ("n", 3)}, **constants)
        assert count_work(path).matmul_flops == 2 * 4 * 3

    def test_a_table_is_looked_up_not_read(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "ids"], ["y"]),
        ]
        path = save(
            tmp_path / "m.onnx", nodes, {"x": ("n", 8)}, {"y": ("n", 8, 4)}, table=zeros(100, 4)
        )
        found = count_work(path)
        assert found.embedding_bytes == 4 * 100 * 4
        assert found.weight_bytes == 0
        assert found.elementwise_bytes == 8 * 8 + 4 * 8 * 4  # int64 ids in, floats out
        assert found.kernel_launches == 1  # a cast is free

    def test_constants_of_nodes_are_no_activations(self, tmp_path: Path) -> None:
        value = numpy_helper.from_array(zeros(1, 8), "value")
        nodes = [
            helper.make_node("Constant", [], ["c"], value=value),
            helper.make_node("Add", ["x", "c"], ["y"]),
        ]
        path = save(tmp_path / "m.onnx", nodes, {"x": ("n", 8)}, {"y": ("n", 8)})
        found = count_work(path)
        assert found.elementwise_bytes == 4 * 2 * 8
        assert found.weight_bytes == 4 * 8
        assert found.kernel_launches == 1

    def test_a_shape_that_depends_on_data_is_refused(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("NonZero", ["x"], ["where"]),
            helper.make_node("Cast", ["where"], ["found"], to=TensorProto.FLOAT),
            helper.make_node("Relu", ["found"], ["y"]),
        ]
        path = save(tmp_path / "m.onnx", nodes, {"x": ("n", 8)}, {"y": ("n", "many")})
        with pytest.raises(ExportError, match=r"not known|inconsistent") as caught:
            count_work(path)
        assert "\n" not in str(caught.value)


def product_flops(config: ModelConfig) -> float:
    """Of one row: the formulas of the heads, layer by layer."""
    s = config.sequence_length
    layers = config.architecture.layers
    found = 0.0
    for at, layer in enumerate(layers):
        following = layers[at + 1].hidden if at + 1 < len(layers) else layer.hidden
        read = 1 if config.pooling == "cls" and at == len(layers) - 1 else s
        found += layer_flops(layer, following, s, read, config.positions == "relative")
    last = layers[-1].hidden
    return found + 2.0 * last * config.outputs + (2.0 * last * last * (config.pooling == "cls"))


def layer_flops(layer: Layer, following: int, s: int, read: int, relative: bool) -> float:
    """read: the tokens behind the attention that something reads."""
    h, d = layer.hidden, layer.head_size
    width = d * len(layer.heads)
    asked = s  # only where every head asks by content is the rest left out
    if not relative and all(kind.startswith("sa_") for kind in layer.heads):
        asked = read
    found = s * h * width  # values
    for kind in layer.heads:
        content, transform = kind.startswith("sa_"), kind.startswith("l_")
        query = relative or not transform
        found += (asked * query + s * (not transform)) * h * d
        found += asked * query * relative * d * (2 * s - 1)  # Q·R^T, used rows
        found += asked * content * s * d  # Q·K^T
        found += asked * d * d * (kind == "sa_wma")
        found += (asked if relative or content else 1) * s * d  # P·V; without Q one P for all
        found += {"l_dft": 2, "l_dct": 1}.get(kind, 0) * s * (s * d + d * d)
        if kind.startswith("c_"):
            taps = int(kind.removeprefix("c_"))
            found += s * (d * taps + d * d + d * taps + d * d)
            found += s * s * d  # the taps as a banded matrix
    widths = (width, h, *layer.feed_forward, h)
    found += read * sum(a * b for a, b in itertools.pairwise(widths))
    found += read * h * following * (following != h)
    return 2.0 * found


@pytest.mark.parametrize("name", NAMES)
class TestOfModels:
    def test_flops(self, sample: Callable[[str], Any], name: str) -> None:
        made = sample(name)
        assert count_work(made.path).matmul_flops == product_flops(made.model.config)

    def test_weights(self, sample: Callable[[str], Any], name: str) -> None:
        """All but the tables once, positions as far as L goes, transforms, and a few shapes."""
        made = sample(name)
        config, work = made.model.config, count_work(made.path)
        s = config.sequence_length
        named = dict(made.model.named_parameters())
        tables = ("embedding.word.weight", "embedding.token_type.weight")
        assert work.embedding_bytes == 4 * sum(named.pop(table).numel() for table in tables)
        floats = sum(value.numel() for value in made.model.buffers())
        for key, value in named.items():
            if key == "embedding.position.weight":
                floats += s * value.shape[1]
            elif key.endswith("relative"):
                floats += (2 * s - 1) * value.shape[1]
            else:
                floats += value.numel()
        assert 0 <= work.weight_bytes - 4 * floats < 16 * work.kernel_launches

    def test_int8(self, sample: Callable[[str], Any], tmp_path: Path, name: str) -> None:
        """The same products, some of them in 8 bits, by weights of a quarter."""
        whole = count_work(sample(name).path)
        quantise_dynamic(sample(name).path, tmp_path / "int8.onnx")
        small = count_work(tmp_path / "int8.onnx")
        assert small.matmul_flops + small.int8_ops == whole.matmul_flops
        assert small.int8_ops > 0.4 * whole.matmul_flops
        embedding = sample(name).model.embedding
        table_rows = embedding.word.num_embeddings + embedding.token_type.num_embeddings
        assert small.embedding_bytes == whole.embedding_bytes / 4 + 4 * table_rows  # scales
        assert small.weight_bytes < 0.8 * whole.weight_bytes
        assert small.elementwise_bytes > whole.elementwise_bytes  # activations are quantised too
