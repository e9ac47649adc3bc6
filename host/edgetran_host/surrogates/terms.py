"""The one description of work that surrogates are fitted on, of an architecture or of a graph.

A term is something a board is paid for: operations, weights, activations, kernels. Costs
are learnt a term, so that a design outside the measured ones is still a sum of known parts.
Indices of a design space are never terms: they carry no magnitude. The terms of an
architecture are those of the catalogue, whose published calibrations speak of them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from edgetran_devices.architecture_terms import ARCHITECTURE_TERMS, SEQUENCE_LENGTH
from edgetran_devices.architecture_terms import architecture_terms as terms_of
from edgetran_protos.bundle import Work

from edgetran_host.space.architecture import Architecture, Layer

__all__ = [
    "ARCHITECTURE_TERMS",
    "PARAMETER_BYTES",
    "SEQUENCE_LENGTH",
    "WORK_TERMS",
    "architecture_terms",
    "memory_bytes",
    "total_flops",
    "work_terms",
]

PARAMETER_BYTES = 4

WORK_TERMS = {  # of any exported graph: `edgetran_protos.bundle.Work`
    "matmul_flops": "float operations of matrix products",
    "int8_ops": "the same with 8-bit operands",
    "elementwise_bytes": "activations moved by everything else",
    "weight_bytes": "weights read once a run",
    "embedding_bytes": "tables of which rows are looked up",
    "kernel_launches": "nodes that run",
}


def architecture_terms(
    architecture: Architecture,
    sequence_length: int = SEQUENCE_LENGTH,
    *,
    first_only: bool = False,
) -> dict[str, float]:
    """The terms of ARCHITECTURE_TERMS, in its order.

    first_only: the model's pooler reads the first token, so that its exported graph computes
    the last layer for that token alone.
    """
    terms = terms_of(architecture.to_dict(), sequence_length)
    if first_only:
        for name, spared in _spared(architecture.layers[-1], sequence_length).items():
            terms[name] -= spared
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


def _spared(last: Layer, length: int) -> dict[str, float]:
    """What the other tokens' part of the last layer would have cost.

    Keys and values are of all tokens; queries, scores and output of the first one, unless
    other than sa heads mix the tokens.
    """
    others = length - 1
    product = 2 * last.hidden * last.attention_width  # of one token with one matrix
    chain = (last.hidden, *last.feed_forward, last.hidden)
    spared = {
        "feed_forward_flops": others * sum(2 * one * two for one, two in pairwise(chain)),
        "projection_flops": others * product,
        "activation_values": others * (sum(last.feed_forward) + 4 * last.hidden),
    }
    if all(kind.startswith("sa_") for kind in last.heads):
        spared["projection_flops"] += others * product
        spared["score_flops"] = 4 * others * length * last.attention_width
        spared["position_flops"] = 2 * others * length * last.attention_width
        weighting = 2 * last.heads.count("sa_wma") * last.head_size**2
        spared["weighting_flops"] = others * weighting
        spared["softmax_values"] = others * length * len(last.heads)
    return {name: float(value) for name, value in spared.items()}
