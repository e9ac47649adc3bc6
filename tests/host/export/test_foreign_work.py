"""Work counts of graphs that are not ours, against PyTorch's counter, runs, counts by hand."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edgetran_host.export import GraphWork, count_graph, count_work
from edgetran_host.export.products import RULES, UNRULED
from edgetran_host.export.work import FREE
from edgetran_protos.errors import ExportError, UsageError
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

LENGTH = 16
BOTH = {"batch": 1, "sequence": LENGTH}
TINY = {"vocab_size": 60, "max_position_embeddings": 32, "attn_implementation": "eager"}
MICROSOFT = "com.microsoft"

Shapes = Mapping[str, Sequence[object]]


def zeros(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float32)


def graph(
    path: Path, nodes: Sequence[onnx.NodeProto], inputs: Shapes, *outputs: str, **constants: Any
) -> Path:
    """Inputs are floats; of the outputs nothing is said."""
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    sets = [helper.make_opsetid("", 23), *(helper.make_opsetid(d, 1) for d in (MICROSOFT, "odd"))]
    onnx.save(helper.make_model(made, opset_imports=sets, ir_version=10), path)
    return path


def encoder(kind: str) -> torch.nn.Module:
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        DistilBertConfig,
        DistilBertForSequenceClassification,
    )

    torch.manual_seed(0)
    if kind == "bert":
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
        return BertForSequenceClassification(BertConfig(hidden_size=32, **sizes, **TINY)).eval()
    sizes = {"n_layers": 3, "n_heads": 2, "hidden_dim": 40}
    config = DistilBertConfig(dim=24, **sizes, **TINY)
    return DistilBertForSequenceClassification(config).eval()


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, torch.nn.Module, Path]:
    """An encoder of the transformers library by torch.onnx, batch and length open."""
    path = tmp_path_factory.mktemp("foreign") / f"{request.param}.onnx"
    model = encoder(request.param)
    example = tuple(torch.ones(2, LENGTH, dtype=torch.int64) for _ in range(2))
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "batch", 1: "sequence"} for name in names}
    with warnings.catch_warnings():  # the older exporter leaves shapes to be computed
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, example, str(path), dynamo=False, opset_version=18, input_names=names,
            output_names=["logits"], dynamic_axes=axes,
        )  # fmt: skip
    return request.param, model, path


def all_outputs(path: Path, feeds: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Every tensor of a run, nothing fused."""
    model = onnx.load(path)
    shown = {value.name for value in model.graph.output}
    names = [out for node in model.graph.node for out in node.output if out]
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in shown)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return {**dict(zip(names, session.run(names, dict(feeds)))), **feeds}


def bytes_by_operator(path: Path, feeds: Mapping[str, Any]) -> dict[str, int]:
    """What a run's nodes, others than products and free ones, read and wrote."""
    seen = all_outputs(path, feeds)
    found: dict[str, int] = {}
    fixed = {t.name for t in onnx.load(path).graph.initializer}
    for node in onnx.load(path).graph.node:
        if set(filter(None, node.input)) <= fixed:  # computed once, when the graph is loaded
            fixed |= set(node.output)
            continue
        names = [n for n in (*node.input, *node.output) if n and n not in fixed]
        found[node.op_type] = found.get(node.op_type, 0) + sum(seen[n].nbytes for n in names)
    return {kind: n for kind, n in found.items() if kind not in FREE | RULES.keys()}


def moved(found: GraphWork) -> dict[str, float]:
    return {
        kind: work.moved_bytes
        for kind, work in found.operators.items()
        if kind not in FREE | RULES.keys()
    }


class TestOfEncoders:
    def test_products_are_those_that_pytorch_counts(self, exported: Any) -> None:
        _, model, path = exported
        tokens = torch.ones(1, LENGTH, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(tokens, tokens)
        found = count_graph(path, BOTH)
        assert found.uncounted == ()
        assert found.total.matmul_flops == counter.get_total_flops()
        assert found.lengths == BOTH

    def test_bytes_are_those_of_a_run(self, exported: Any) -> None:
        _, _, path = exported
        tokens = np.ones((3, LENGTH), np.int64)
        wanted = bytes_by_operator(path, {"input_ids": tokens, "attention_mask": tokens})
        assert moved(count_graph(path, {"batch": 3, "sequence": LENGTH})) == wanted

    def test_weights_are_the_model_s(self, exported: Any) -> None:
        """Each once, beside a few constants of shapes and masks; position tables may be folded."""
        _, model, path = exported
        work = count_graph(path, BOTH).total
        named = dict(model.named_parameters())
        kept = 4 * sum(value.numel() for value in named.values())
        constants = work.weight_bytes + work.embedding_bytes
        assert kept <= constants < kept + 64 * work.kernel_launches

    def test_an_open_length_is_asked_for(self, exported: Any) -> None:
        _, _, path = exported
        with pytest.raises(UsageError, match="how long sequence is") as caught:
            count_work(path)
        assert "lengths={'sequence': 128}" in caught.value.hint
        with pytest.raises(UsageError, match="no open axis tokens"):
            count_graph(path, {"tokens": 3})

    def test_fused_operators_hold_the_same_products(self, exported: Any, tmp_path: Path) -> None:
        """ONNX Runtime's optimiser merges projections and scores into its own operators."""
        from onnxruntime.transformers import optimizer

        kind, _, path = exported
        heads, hidden = (4, 32) if kind == "bert" else (2, 24)
        fixed = tmp_path / "fixed.onnx"
        optimizer.optimize_model(
            str(path), model_type="bert", num_heads=heads, hidden_size=hidden
        ).save_model_to_file(str(fixed))
        whole, found = count_graph(path, BOTH), count_graph(fixed, BOTH)
        assert any(name.startswith(MICROSOFT) for name in found.operators)
        assert found.uncounted == ()
        assert found.total.matmul_flops == whole.total.matmul_flops
        assert found.total.kernel_launches < whole.total.kernel_launches

    def test_eight_bits_hold_the_same_products(self, exported: Any, tmp_path: Path) -> None:
        from onnxruntime.quantization import quantize_dynamic

        _, _, path = exported
        quantize_dynamic(path, tmp_path / "int8.onnx")
        whole, found = count_graph(path, BOTH).total, count_graph(tmp_path / "int8.onnx", BOTH)
        assert found.uncounted == ()
        assert found.total.int8_ops > 0.5 * whole.matmul_flops
        assert found.total.matmul_flops + found.total.int8_ops == whole.matmul_flops


class TestOfAnImageClassifier:
    """Of a batch that is fixed at two: a run is two images."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        nodes = [
            helper.make_node("Conv", ["x", "k", "kb"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Conv", ["r", "d"], ["e"], group=6),
            helper.make_node("GlobalAveragePool", ["e"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "w", "b"], ["logits"], transB=1),
        ]
        constants = {"k": zeros(6, 3, 3, 3), "kb": zeros(6), "d": zeros(6, 1, 3, 3)}
        constants |= {"w": zeros(5, 6), "b": zeros(5)}
        return graph(tmp_path / "cnn.onnx", nodes, {"x": (2, 3, 16, 16)}, "logits", **constants)

    def test_products(self, path: Path) -> None:
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 6, 3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(6, 6, 3, groups=6),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(6, 5),
        )
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.zeros(2, 3, 16, 16))
        found = count_graph(path)
        assert found.total.matmul_flops == counter.get_total_flops()
        assert found.total == count_work(path)
        assert found.lengths == {}

    def test_operators_hold_what_the_total_holds(self, path: Path) -> None:
        found = count_graph(path)
        conv = found.operators["Conv"]
        assert conv.nodes == 2
        assert conv.matmul_flops == 2 * 2 * (6 * 8 * 8 * 27 + 6 * 6 * 6 * 9)
        assert conv.weight_bytes == 4 * (6 * 27 + 6 + 6 * 9)
        assert sum(w.matmul_flops for w in found.operators.values()) == found.total.matmul_flops
        assert sum(w.weight_bytes for w in found.operators.values()) == found.total.weight_bytes
        assert moved(found) == bytes_by_operator(path, {"x": zeros(2, 3, 16, 16)})


def one(tmp_path: Path, node: onnx.NodeProto, inputs: Shapes, **constants: Any) -> GraphWork:
    return count_graph(graph(tmp_path / "one.onnx", [node], inputs, "y", **constants))


B, S, T, H, N = 2, 5, 7, 12, 3  # rows, places, other places, hidden, heads
FLOAT: list[tuple[str, onnx.NodeProto, Shapes, float]] = [
    (
        "a transposed convolution",
        helper.make_node("ConvTranspose", ["a", "b"], ["y"], group=2, strides=[2]),
        {"a": (B, 4, S), "b": (4, 3, 3)},
        2 * B * 4 * S * (3 * 3),
    ),
    (
        "an LSTM, both ways",
        helper.make_node("LSTM", ["a", "b", "c"], ["y"], hidden_size=H, direction="bidirectional"),
        {"a": (S, B, 6), "b": (2, 4 * H, 6), "c": (2, 4 * H, H)},
        2 * S * B * 2 * 4 * H * (6 + H),
    ),
    (
        "a GRU, rows first",
        helper.make_node("GRU", ["a", "b", "c"], ["y"], hidden_size=H, layout=1),
        {"a": (B, S, 6), "b": (1, 3 * H, 6), "c": (1, 3 * H, H)},
        2 * S * B * 3 * H * (6 + H),
    ),
    (
        "scores by Einsum",
        helper.make_node("Einsum", ["a", "b"], ["y"], equation="bnsd,bntd->bnst"),
        {"a": (B, N, S, 4), "b": (B, N, T, 4)},
        2 * B * N * S * T * 4,
    ),
    (
        "an Einsum with an ellipsis and no result named",
        helper.make_node("Einsum", ["a", "b"], ["y"], equation="...ij, jk"),
        {"a": (B, S, 4), "b": (4, 6)},
        2 * B * S * 4 * 6,
    ),
    (
        "an Einsum element by element",
        helper.make_node("Einsum", ["a", "b"], ["y"], equation="bs,bs->bs"),
        {"a": (B, S), "b": (B, S)},
        0,
    ),
    (
        "attention with fewer heads of keys",
        helper.make_node("Attention", ["a", "b", "c"], ["y"], q_num_heads=4, kv_num_heads=2),
        {"a": (B, S, 4 * 6), "b": (B, T, 2 * 6), "c": (B, T, 2 * 3)},
        2 * B * 4 * S * T * (6 + 3),
    ),
    (
        "attention in four axes, behind a past",
        helper.make_node("Attention", ["a", "b", "c", "", "d", "e"], ["y", "k", "v"]),
        {n: (B, N, s, 4) for n, s in zip("abcde", (S, T, T, 9, 9))},
        2 * B * N * S * (T + 9) * (4 + 4),
    ),
    (
        "a fused product of turned matrices",
        helper.make_node("FusedMatMul", ["a", "b"], ["y"], domain=MICROSOFT, transA=1, transB=1),
        {"a": (B, 4, S), "b": (B, 6, 4)},
        2 * B * S * 4 * 6,
    ),
    (
        "fused attention with its projections",
        helper.make_node("Attention", ["a", "b", "c"], ["y"], domain=MICROSOFT, num_heads=N),
        {"a": (B, S, H), "b": (H, 3 * H), "c": (3 * H,)},
        2 * B * S * H * 3 * H + 2 * B * S * S * 2 * H,
    ),
    (
        "fused attention to another text",
        helper.make_node("MultiHeadAttention", [*"abc"], ["y"], domain=MICROSOFT, num_heads=N),
        {"a": (B, S, H), "b": (B, T, H), "c": (B, T, 2 * H)},
        2 * B * S * T * 3 * H,
    ),
]  # fmt: skip


class TestOfOperators:
    @pytest.mark.parametrize(
        ("node", "inputs", "flops"), [case[1:] for case in FLOAT], ids=[case[0] for case in FLOAT]
    )
    def test_float_products(
        self, tmp_path: Path, node: onnx.NodeProto, inputs: Shapes, flops: float
    ) -> None:
        found = one(tmp_path, node, inputs)
        assert found.uncounted == ()
        assert (found.total.matmul_flops, found.total.int8_ops) == (flops, 0)

    def test_int8_products(self, tmp_path: Path) -> None:
        scale, zero = np.float32(1), np.uint8(0)
        codes = np.zeros((4, 6), np.uint8)
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("QLinearMatMul", ["q", "s", "z", "w", "s", "z", "s", "z"], ["m"]),
            helper.make_node("DequantizeLinear", ["m", "s", "z"], ["y"]),
        ]
        path = graph(tmp_path / "q.onnx", nodes, {"x": (B, S, 4)}, "y", s=scale, z=zero, w=codes)
        found = count_work(path)
        assert (found.matmul_flops, found.int8_ops) == (0, 2 * B * S * 4 * 6)

    def test_products_between_scales_are_in_eight_bits(self, tmp_path: Path) -> None:
        """And the weight is kept in eight, though the graph scales it to float."""
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["xs"]),
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["ws"]),
            helper.make_node("MatMul", ["xs", "ws"], ["y"]),
        ]
        codes = np.zeros((64, 32), np.uint8)
        path = graph(
            tmp_path / "q.onnx", nodes, {"x": (B, 64)}, "y", s=np.float32(1), z=np.uint8(0), w=codes
        )
        found = count_work(path)
        assert (found.matmul_flops, found.int8_ops) == (0, 2 * B * 64 * 32)
        assert 64 * 32 <= found.weight_bytes <= 64 * 32 + 16

    @pytest.mark.parametrize(
        ("node", "reason"),
        [
            (helper.make_node("Mystery", ["a"], ["y"], domain="odd"), "what odd computes"),
            (helper.make_node("LongformerAttention", ["a"], ["y"], domain=MICROSOFT), "computes"),
            (helper.make_node("Det", ["a"], ["y"]), "products"),
            (helper.make_node("Einsum", [*"aaa"], ["y"], equation="ij,jk,kl->il"), "order"),
        ],
    )
    def test_what_no_rule_counts_is_listed(
        self, tmp_path: Path, node: onnx.NodeProto, reason: str
    ) -> None:
        found = one(tmp_path, node, {"a": (4, 4)})
        (missing,) = found.uncounted
        assert missing.operator.endswith(node.op_type)
        assert reason in missing.reason
        with pytest.raises(ExportError, match=re.escape(missing.operator)) as caught:
            count_work(tmp_path / "one.onnx")
        assert "count_graph" in caught.value.hint

    def test_what_follows_an_unknown_operator_is_listed_too(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("MatMul", ["a", "w"], ["b"]),
            helper.make_node("Mystery", ["b"], ["c"], domain="odd"),
            helper.make_node("MatMul", ["c", "w"], ["y"]),
        ]
        found = count_graph(graph(tmp_path / "m.onnx", nodes, {"a": (1, 4)}, "y", w=zeros(4, 4)))
        assert [missing.operator for missing in found.uncounted] == ["odd.Mystery", "MatMul"]
        assert found.total.matmul_flops == 2 * 4 * 4

    def test_a_loop_is_listed(self, tmp_path: Path) -> None:
        info = helper.make_tensor_value_info
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go"], ["on"]),
                helper.make_node("MatMul", ["v", "v"], ["w"]),
            ],
            "body",
            [
                info("i", TensorProto.INT64, ()),
                info("go", TensorProto.BOOL, ()),
                info("v", TensorProto.FLOAT, (4, 4)),
            ],
            [info("on", TensorProto.BOOL, ()), info("w", TensorProto.FLOAT, (4, 4))],
        )
        node = helper.make_node("Loop", ["n", "", "a"], ["y"], body=body)
        found = one(tmp_path, node, {"a": (4, 4)}, n=np.int64(3))
        assert [(m.operator, m.reason) for m in found.uncounted] == [
            ("Loop", "how often its body runs depends on data")
        ]

    def test_no_product_of_onnx_is_without_a_rule(self) -> None:
        """Of the installed version, so that a newer one cannot add any unseen."""
        names = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
        products = {n for n in names if re.search(r"MatMul|Gemm|Conv|Attention|RNN|LSTM|GRU", n)}
        assert products | {"Einsum"} == (RULES.keys() | UNRULED) - {"AffineGrid", "Det"} - {
            "DFT", "STFT"
        }  # fmt: skip


class TestOfAxes:
    def test_rows_need_not_come_first(self, tmp_path: Path) -> None:
        """Time comes first in an LSTM."""
        node = helper.make_node("LSTM", ["a", "b", "c"], ["y"], hidden_size=4)
        constants = {"b": zeros(1, 16, 3), "c": zeros(1, 16, 4)}
        path = graph(tmp_path / "m.onnx", [node], {"a": ("time", "rows", 3)}, "y", **constants)
        with pytest.raises(UsageError, match="how long rows, time is"):
            count_work(path)
        found = count_graph(path, {"time": 6, "rows": 2})
        assert found.total.matmul_flops == 2 * 6 * 2 * 16 * (3 + 4)

    def test_axes_without_names(self, tmp_path: Path) -> None:
        node = helper.make_node("MatMul", ["a", "w"], ["y"])
        path = graph(tmp_path / "m.onnx", [node], {"a": (None, None, 4)}, "y", w=zeros(4, 3))
        found = count_graph(path, {"a.1": 6})
        assert found.lengths == {"a.0": 1, "a.1": 6}
        assert found.total.matmul_flops == 2 * 6 * 4 * 3

    def test_weights_in_another_file(self, tmp_path: Path) -> None:
        node = helper.make_node("MatMul", ["a", "w"], ["y"])
        path = graph(tmp_path / "m.onnx", [node], {"a": ("n", 64)}, "y", w=zeros(64, 64))
        whole = count_work(path)
        onnx.save(
            onnx.load(path), tmp_path / "split.onnx", save_as_external_data=True, location="w.bin"
        )
        assert (tmp_path / "w.bin").stat().st_size >= 4 * math.prod((64, 64))
        assert count_work(tmp_path / "split.onnx") == whole

    def test_no_graph_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(b"\xff\xfe nonsense")
        with pytest.raises(ExportError, match=r"m\.onnx is no ONNX graph"):
            count_graph(tmp_path / "m.onnx")
