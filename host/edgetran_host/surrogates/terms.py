"""The one description of work that surrogates are fitted on, of an architecture or of a graph.

A term is something a board is paid for: operations, weights, activations, kernels. Costs
are learnt a term, so that a design outside the measured ones is still a sum of known parts.
Symbols, a layer: L tokens, h hidden, n heads of size d, A = n * d, f feed-forward widths,
k taps of a c_k head. Indices of a design space are never terms: they carry no magnitude.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from edgetran_protos.bundle import Work

from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.space.parameters import count_parameters

SEQUENCE_LENGTH = 128  # tokens; the published rows are padded to it
PARAMETER_BYTES = 4

ARCHITECTURE_TERMS = {  # name -> what it counts, a row
    "projection_flops": "Q, K, V, output and width-change products",
    "feed_forward_flops": "products of the feed-forward stacks",
    "score_flops": "Q K^T of sa heads, P V of all",
    "position_flops": "Q R^T of all heads",
    "convolution_flops": "depthwise, pointwise and tap products of c heads",
    "weighting_flops": "Q W of sa_wma heads",
    "transformed_values": "L d of l heads",
    "odd_transforms": "d^2 of l heads whose d is no power of two",
    "embedding_parameters": "word, position and type tables",
    "layer_parameters": "all other weights",
    "activation_values": "values that pass an activation, a norm or a residual",
    "softmax_values": "L^2 a head",
    "unfolded_values": "L d k of c heads",
    "layers": "layers",
    "matrices": "feed-forward products",
    "width_changes": "layers whose hidden size is not that of the one before",
    **{f"{kind}_heads": f"{kind} heads" for kind in HEAD_KINDS},
}
WORK_TERMS = {  # of any exported graph: `edgetran_protos.bundle.Work`
    "matmul_flops": "float operations of matrix products",
    "int8_ops": "the same with 8-bit operands",
    "elementwise_bytes": "activations moved by everything else",
    "weight_bytes": "weights read once a run",
    "embedding_bytes": "tables of which rows are looked up",
    "kernel_launches": "nodes that run",
}


def architecture_terms(
    architecture: Architecture, sequence_length: int = SEQUENCE_LENGTH
) -> dict[str, float]:
    """The terms of ARCHITECTURE_TERMS, in its order."""
    terms = dict.fromkeys(ARCHITECTURE_TERMS, 0.0)
    for layer in architecture.layers:
        _add_layer(terms, layer, sequence_length)
    for one, next_ in pairwise(architecture.layers):
        if one.hidden != next_.hidden:
            terms["width_changes"] += 1
            terms["projection_flops"] += 2 * sequence_length * one.hidden * next_.hidden
    weights = count_parameters(architecture)
    tables = weights.word_embedding + weights.position_embedding + weights.type_embedding
    terms["embedding_parameters"] = tables
    terms["layer_parameters"] = weights.total - tables
    return terms


def work_terms(work: Work) -> dict[str, float]:
    """The terms of WORK_TERMS, in its order."""
    return {name: float(getattr(work, name)) for name in WORK_TERMS}


def memory_bytes(terms: Mapping[str, float]) -> float:
    """What the weights fill."""
    if "weight_bytes" in terms:
        return terms["weight_bytes"] + terms["embedding_bytes"]
    return PARAMETER_BYTES * (terms["embedding_parameters"] + terms["layer_parameters"])


def total_flops(terms: Mapping[str, float]) -> float:
    """All matrix products, of whatever kind."""
    if "matmul_flops" in terms:
        return terms["matmul_flops"] + terms["int8_ops"]
    return sum(value for name, value in terms.items() if name.endswith("_flops"))


def _add_layer(terms: dict[str, float], layer: Layer, length: int) -> None:
    hidden, size, width = layer.hidden, layer.head_size, layer.attention_width
    chain = (hidden, *layer.feed_forward, hidden)
    terms["layers"] += 1
    terms["matrices"] += len(chain) - 1
    terms["projection_flops"] += 2 * length * 4 * hidden * width
    terms["feed_forward_flops"] += sum(2 * length * one * two for one, two in pairwise(chain))
    terms["activation_values"] += length * (sum(layer.feed_forward) + 4 * hidden + 4 * width)
    terms["softmax_values"] += length**2 * len(layer.heads)
    for kind in layer.heads:
        terms[f"{kind}_heads"] += 1
        terms["position_flops"] += 2 * length**2 * size
        terms["score_flops"] += 2 * length**2 * size * (2 if kind.startswith("sa_") else 1)
        if kind == "sa_wma":
            terms["weighting_flops"] += 2 * length * size**2
        elif kind.startswith("l_"):
            terms["transformed_values"] += length * size
            terms["odd_transforms"] += size**2 if size & (size - 1) else 0
        elif kind.startswith("c_"):
            taps = int(kind.removeprefix("c_"))
            terms["convolution_flops"] += 2 * length * size * (2 * size + 3 * taps)
            terms["unfolded_values"] += length * size * taps
