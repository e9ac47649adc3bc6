"""How many operations the product operators take: those of ONNX, and ONNX Runtime's fused ones.

An operator has a rule, which takes the node and the shapes and gives multiply-adds by the
type they are made in; or it is listed as one whose products no rule counts. What ONNX
itself defines beyond both tables multiplies no matrices. Of ONNX Runtime's operators the
ones named in PLAIN do not either; of every other we do not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx
from edgetran_protos.errors import ExportError

from edgetran_host.export.tensors import Shape

ONNX, RUNTIME = ("", "ai.onnx"), "com.microsoft"  # domains


@dataclass(frozen=True)
class Products:
    """Two operations a multiply-add."""

    float_ops: float = 0.0
    int8_ops: float = 0.0


ShapeOf = Callable[[str], Shape]
Rule = Callable[[onnx.NodeProto, ShapeOf], Products]


def rule_of(node: onnx.NodeProto) -> Rule | None:
    """None: it multiplies no matrices. Raises ExportError when nothing here can count it."""
    if any(a.HasField("g") or a.graphs for a in node.attribute):
        raise ExportError("how often its body runs depends on data")
    if node.domain in ONNX:
        if node.op_type in UNRULED:
            raise ExportError("nothing here counts its products")
        return RULES.get(node.op_type)
    if node.domain == RUNTIME and node.op_type in RUNTIME_RULES:
        return RUNTIME_RULES[node.op_type]
    if node.domain == RUNTIME and node.op_type in PLAIN:
        return None
    raise ExportError(f"nothing here knows what {node.domain} computes in it")


def operator_of(node: onnx.NodeProto) -> str:
    """Its name, behind its domain's unless that is ONNX's own."""
    return str(node.op_type if node.domain in ONNX else f"{node.domain}.{node.op_type}")


def attribute(node: onnx.NodeProto, name: str, default: int = 0) -> int:
    found: Mapping[str, int] = {a.name: a.i for a in node.attribute}
    return found.get(name, default)


def _matrices(node: onnx.NodeProto, shape_of: ShapeOf) -> float:
    """Also Gemm and ONNX Runtime's products, which may turn the left side first."""
    left = shape_of(node.input[0])
    at = -1
    if attribute(node, "transA"):  # transBatchA: the first axis is the one before the last
        at = 0 if attribute(node, "transBatchA") else -2
    return 2.0 * math.prod(shape_of(node.output[0])) * left[at]


def _convolution(node: onnx.NodeProto, shape_of: ShapeOf, weight: int = 1) -> float:
    """weight (out, in / groups, taps ...)"""
    taps = math.prod(shape_of(node.input[weight])[1:])
    return 2.0 * math.prod(shape_of(node.output[0])) * taps


def _transposed_convolution(node: onnx.NodeProto, shape_of: ShapeOf) -> float:
    """Every element that enters meets its channel's part of weight (in, out / groups, taps ...)."""
    return 2.0 * math.prod(shape_of(node.input[0])) * math.prod(shape_of(node.input[1])[1:])


def _recurrent(node: onnx.NodeProto, shape_of: ShapeOf) -> float:
    """X (time, rows, in), the first two swapped by layout: every gate at every step."""
    steps = math.prod(shape_of(node.input[0])[:2])
    return 2.0 * steps * sum(math.prod(shape_of(name)) for name in node.input[1:3])


def _einsum(node: onnx.NodeProto, shape_of: ShapeOf) -> float:
    """Of two operands: one multiply-add for each output element and value of the summed letters."""
    equation = next(a.s.decode() for a in node.attribute if a.name == "equation").replace(" ", "")
    left, _, result = equation.partition("->")
    terms = left.split(",")
    if "->" not in equation:
        once = sorted({c for c in left if c.isalpha() and left.count(c) == 1})
        result = "".join(["..."] * ("..." in left) + once)
    if "..." in left and "..." not in result:
        raise ExportError("an Einsum that sums its ellipsis has no rule here")
    if len(terms) > 2:
        raise ExportError("of more than two operands the order of an Einsum is open")
    lengths: dict[str, int] = {}
    for term, name in zip(terms, node.input):
        before, _, after = term.partition("...")
        shape = shape_of(name)
        behind = shape[len(shape) - len(after) :]
        lengths |= dict(zip(before, shape)) | dict(zip(after, behind))
    summed = set(lengths) - set(result)
    if len(terms) == 1 or not summed:
        return 0.0  # a sum, or element by element
    if any(letter not in term for letter in summed for term in terms):
        raise ExportError("when an Einsum sums the letters of one operand is open")
    inner = math.prod(lengths[letter] for letter in summed)
    return 2.0 * math.prod(shape_of(node.output[0])) * inner


def _attention(node: onnx.NodeProto, shape_of: ShapeOf) -> float:
    """Q (b, s, n d) or (b, n, s, d); keys and values likewise, with fewer heads perhaps.

    Masked places count: kernels compute them.
    """
    q, k, v = (shape_of(name) for name in node.input[:3])
    past = node.input[4] if len(node.input) > 4 else ""
    heads = q[1] if len(q) == 4 else attribute(node, "q_num_heads")
    fewer = k[1] if len(k) == 4 else attribute(node, "kv_num_heads")
    size = q[-1] if len(q) == 4 else q[-1] // heads
    value_size = v[-1] if len(v) == 4 else v[-1] // fewer
    keys = k[-2] + (shape_of(past)[-2] if past else 0)
    return 2.0 * q[0] * heads * q[-2] * keys * (size + value_size)


def _many_heads(node: onnx.NodeProto, shape_of: ShapeOf) -> float:
    """ONNX Runtime's MultiHeadAttention; keys and values are (b, s, h) or (b, n, s, d)."""
    if len(node.input) < 3 or not (node.input[1] and node.input[2]):
        raise ExportError("its queries, keys and values come packed")
    q, k, v = (shape_of(name) for name in node.input[:3])
    past = node.input[6] if len(node.input) > 6 else ""
    keys = k[-2] + (shape_of(past)[-2] if past else 0)
    values = v[-1] * (v[1] if len(v) == 4 else 1)
    return 2.0 * q[0] * q[1] * keys * (q[2] + values)


def _projections_and_scores(node: onnx.NodeProto, shape_of: ShapeOf) -> tuple[float, float]:
    """ONNX Runtime's Attention: x (b, s, h), one weight (h, q + k + v), then the scores."""
    x, weight = shape_of(node.input[0]), shape_of(node.input[1])
    sizes = next((tuple(a.ints) for a in node.attribute if a.name == "qkv_hidden_sizes"), None)
    query, _, values = sizes or (weight[1] // 3,) * 3
    at = 8 if node.op_type == "QAttention" else 4
    past = node.input[at] if len(node.input) > at else ""
    keys = x[1] + (shape_of(past)[-2] if past else 0)
    return (
        2.0 * math.prod(x) * weight[1],
        2.0 * x[0] * x[1] * keys * (query + values),
    )


def _in_float(count: Callable[[onnx.NodeProto, ShapeOf], float]) -> Rule:
    return lambda node, shape_of: Products(float_ops=count(node, shape_of))


def _in_int8(count: Callable[[onnx.NodeProto, ShapeOf], float]) -> Rule:
    return lambda node, shape_of: Products(int8_ops=count(node, shape_of))


def _runtime_attention(node: onnx.NodeProto, shape_of: ShapeOf) -> Products:
    return Products(float_ops=sum(_projections_and_scores(node, shape_of)))


def _int8_attention(node: onnx.NodeProto, shape_of: ShapeOf) -> Products:
    projections, scores = _projections_and_scores(node, shape_of)
    return Products(float_ops=scores, int8_ops=projections)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("MatMul", "Gemm"), _in_float(_matrices)),
    **dict.fromkeys(("MatMulInteger", "QLinearMatMul"), _in_int8(_matrices)),
    "Conv": _in_float(_convolution),
    "ConvInteger": _in_int8(_convolution),
    "QLinearConv": _in_int8(lambda node, shape_of: _convolution(node, shape_of, weight=3)),
    "ConvTranspose": _in_float(_transposed_convolution),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _in_float(_recurrent)),
    "Einsum": _in_float(_einsum),
    "Attention": _in_float(_attention),
}
UNRULED = {
    "AffineGrid", "CausalConvWithState", "DeformConv", "Det", "DFT", "LinearAttention", "STFT",
}  # fmt: skip
RUNTIME_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(
        ("FusedMatMul", "TransposeMatMul", "FusedGemm", "GemmFastGelu", "MatMulNBits"),
        _in_float(_matrices),
    ),
    **dict.fromkeys(
        ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm"), _in_int8(_matrices)
    ),
    **dict.fromkeys(("FusedConv", "NhwcFusedConv"), _in_float(_convolution)),
    "Attention": _runtime_attention,
    "QAttention": _int8_attention,
    "MultiHeadAttention": _in_float(_many_heads),
    "DynamicQuantizeLSTM": _in_int8(_recurrent),
}
PLAIN = {
    "BiasAdd", "BiasGelu", "BiasSoftmax", "BiasSplitGelu", "DequantizeLinear",
    "EmbedLayerNormalization", "FastGelu", "Gelu", "GroupNorm", "QLinearAdd",
    "QLinearAveragePool", "QLinearConcat", "QLinearGlobalAveragePool", "QLinearLeakyRelu",
    "QLinearMul", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
    "QuantizeLinear", "QuickGelu", "RotaryEmbedding", "SimplifiedLayerNormalization",
    "SkipGroupNorm", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "Trilu",
}  # fmt: skip
