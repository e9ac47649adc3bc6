"""Brings outlying channels of activations to the size of the others before they get 8 bits.

A few channels of an encoder are ten times as large as the rest and leave them few of the
256 steps. For a product x·W, x (b, s, k), W (k, n), and a factor f of each channel,
    x·W = (x / f)·(f·W)            f = max(1, r / t)
with r the channel's largest value on calibration rows and t that of the channel some
places down the order, where the 8-bit product is nearest to the true one.
Source: Xiao et al., SmoothQuant, 2023; the choice of f is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgetran_host.export.graph import INPUTS
from edgetran_host.tasks import Encoded

Floats = NDArray[np.float32]

CALIBRATION_ROWS = 16  # the outlying channels are the same in every text
POSITIONS = 128  # of theirs, evenly spread, on which products are compared
PLACES = (1, 2, 4, 8, 16, 32, 64, 128)
LEAST_GAIN = 2.0  # in squared error; below, the scaling is not worth its time
ACTIVATION_STEPS, WEIGHT_STEPS = 255, 127
TINY = 1e-12


@dataclass(frozen=True)
class _Site:
    """One activation and the products by weights that read it."""

    activation: str
    readers: tuple[onnx.NodeProto, ...]


def smooth(model: onnx.ModelProto, products: Sequence[str], calibration: Encoded) -> None:
    """Scales activations and weights of the named MatMul nodes where that pays, in place."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    sites = _sites(model.graph, products)
    seen = _activations(model, sites, calibration[:CALIBRATION_ROWS])
    before: dict[str, onnx.NodeProto] = {}
    for site in sites:
        held = [numpy_helper.to_array(weights[node.input[1]]) for node in site.readers]
        factor = _factor(seen[site.activation], held)
        if factor is None:
            continue
        inverse, scaled = f"{site.activation}_inverse", f"{site.activation}_smooth"
        model.graph.initializer.append(numpy_helper.from_array(1 / factor, inverse))
        before[site.readers[0].name] = helper.make_node(
            "Mul", [site.activation, inverse], [scaled], name=scaled
        )
        for node, weight in zip(site.readers, held):
            larger = numpy_helper.from_array(weight * factor[:, None], node.input[1])
            weights[node.input[1]].CopyFrom(larger)
            node.input[0] = scaled
    nodes = [
        entry
        for node in model.graph.node
        for entry in ((before[node.name], node) if node.name in before else (node,))
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _sites(graph: onnx.GraphProto, products: Sequence[str]) -> list[_Site]:
    """Only weights with one reader: scaled for one, they would be wrong for another."""
    uses = [name for node in graph.node for name in node.input]
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.name in products and uses.count(node.input[1]) == 1:
            readers.setdefault(node.input[0], []).append(node)
    return [_Site(name, tuple(nodes)) for name, nodes in readers.items()]


def _activations(
    model: onnx.ModelProto, sites: Sequence[_Site], rows: Encoded
) -> dict[str, Floats]:
    names = [site.activation for site in sites]
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = session.run(names, {name: getattr(rows, name) for name in INPUTS})
    return dict(zip(names, found))


def _factor(x: Floats, weights: Sequence[Floats]) -> Floats | None:
    """(k,) for the product of least error; None where the plain one is good enough."""
    flat = x.reshape(-1, x.shape[-1])
    largest = np.abs(flat).max(axis=0)  # (k,)
    order = np.sort(largest)[::-1]
    looked_at = np.linspace(0, len(flat) - 1, min(POSITIONS, len(flat))).astype(int)
    true = [flat[looked_at] @ weight for weight in weights]
    tried = [np.ones_like(largest)] + [
        np.maximum(1, largest / max(float(order[place]), TINY)).astype(np.float32)
        for place in PLACES
        if place < len(order)
    ]
    errors = [_error(x, weights, true, factor, looked_at) for factor in tried]
    best = int(np.argmin(errors))
    return tried[best] if errors[0] > LEAST_GAIN * errors[best] else None


def _error(
    x: Floats,
    weights: Sequence[Floats],
    true: Sequence[Floats],
    factor: Floats,
    looked_at: NDArray[np.intp],
) -> float:
    """Mean squared, of the product as a board computes it: steps are those of whole rows."""
    coarse = _as_uint8(x / factor).reshape(-1, x.shape[-1])[looked_at]
    return sum(
        float(np.square(coarse @ _as_int8(weight * factor[:, None]) - wanted).mean())
        for weight, wanted in zip(weights, true)
    )


def _as_uint8(x: Floats) -> Floats:
    """x (b, s, k) on 256 steps between the ends of each row, zero among them."""
    others = tuple(range(1, x.ndim))
    low = np.minimum(x.min(axis=others, keepdims=True), 0)
    high = np.maximum(x.max(axis=others, keepdims=True), 0)
    step = np.maximum((high - low) / ACTIVATION_STEPS, TINY)
    zero = np.round(-low / step)
    found: Floats = (np.clip(np.round(x / step) + zero, 0, ACTIVATION_STEPS) - zero) * step
    return found


def _as_int8(weight: Floats) -> Floats:
    """(k, n) on steps of its own for each of the n outputs."""
    step = np.maximum(np.abs(weight).max(axis=0) / WEIGHT_STEPS, TINY)
    found: Floats = np.round(weight / step) * step
    return found
