"""The small set of graphs that a calibration measures, each dear in one way.

Micro graphs look up one row a token and then do one thing: products of a size, a stream of
weights that is too long for caches, passes over activations, or many kernels that do next to
nothing. Designs are whole transformers, on which all of that comes together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_protos.bundle import Bundle

LENGTH = 128  # tokens of a row
SEED = 0
OPSET = 17
PASSES = ("Add", "LayerNormalization", "Mul", "Softmax")  # as transformers have them


@dataclass(frozen=True)
class Specimen:
    """One graph. `kind` names what builds it, `numbers` are its own."""

    kind: str
    numbers: tuple[int, ...]
    length: int = LENGTH
    int8: bool = False

    @property
    def name(self) -> str:
        parts = (self.kind, *map(str, self.numbers), f"l{self.length}")
        return "-".join((*parts, "int8") if self.int8 else parts)


MICRO = (
    *(Specimen("products", (width, 4)) for width in (64, 128, 256, 512, 768)),
    *(Specimen("products", (width, 4), int8=True) for width in (256, 768)),
    Specimen("products", (512, 8), length=1),  # each weight is used once
    Specimen("products", (1024, 6), length=1),
    Specimen("passes", (256, 32)),
    Specimen("passes", (768, 24)),
    Specimen("passes", (8, 200), length=1),  # all launches
    Specimen("passes", (8, 400), length=1),
)
DESIGNS = (  # layers, hidden, heads, feed-forward
    Specimen("design", (2, 128, 2, 512)),
    Specimen("design", (4, 256, 4, 1024)),
    Specimen("design", (2, 512, 8, 2048)),
    Specimen("design", (6, 384, 12, 1536)),
    Specimen("design", (4, 256, 4, 1024), length=32),
    Specimen("design", (4, 256, 4, 1024), int8=True),
)


def bundle_of(specimen: Specimen, folder: Path) -> Bundle:
    """Made when it is first asked for, kept in `folder`. Raises ExportError."""
    path = folder / f"{specimen.name}.tar"
    if not path.exists():
        from edgetran_host.measuring.bare_graph import bundle_of_graph

        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as scratch:
            graph = Path(scratch) / f"{specimen.name}.onnx"
            _write(specimen, graph)
            made = Path(scratch) / path.name
            bundle_of_graph(graph, made, specimen.length)
            made.replace(path)
    return Bundle.open(path)


def _write(specimen: Specimen, path: Path) -> None:
    if not specimen.int8:
        _WRITERS[specimen.kind](specimen, path)
        return
    from edgetran_host.export.quantisation import quantise_dynamic

    whole = path.with_suffix(".fp32.onnx")
    _WRITERS[specimen.kind](specimen, whole)
    quantise_dynamic(whole, path)
    whole.unlink()


def _products(specimen: Specimen, path: Path) -> None:
    width, count = specimen.numbers
    rng = np.random.default_rng(SEED)
    scale = width**-0.5  # values keep their size through the chain
    matrix = (width, width)
    weights = [rng.normal(0, scale, matrix).astype(np.float32) for _ in range(count)]
    _save_chain(specimen, path, width, [("MatMul", weight) for weight in weights])


def _passes(specimen: Specimen, path: Path) -> None:
    width, count = specimen.numbers
    rng = np.random.default_rng(SEED)
    steps = [
        (PASSES[at % len(PASSES)], rng.normal(1, 0.01, width).astype(np.float32))
        for at in range(count)
    ]
    _save_chain(specimen, path, width, steps)


def _save_chain(
    specimen: Specimen, path: Path, width: int, steps: Sequence[tuple[str, np.ndarray[Any, Any]]]
) -> None:
    """Looked-up rows (1, L, width) through one operator with a constant after another."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(SEED).normal(0, 1, (2, width)).astype(np.float32)
    used = [(f"c{at}", one) for at, (operator, one) in enumerate(steps) if operator != "Softmax"]
    constants = [("table", table), *used]
    names = [*(f"x{at}" for at in range(len(steps))), "logits"]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["looked_up"], name="rows"),
        helper.make_node("Identity", ["looked_up"], ["x0"], name="start"),  # int8 renames by it
    ]
    nodes += [
        helper.make_node(
            operator,
            [names[at]] if operator == "Softmax" else [names[at], f"c{at}"],
            [names[at + 1]],
            name=f"{operator}{at}",
        )
        for at, (operator, _) in enumerate(steps)
    ]
    rows = [1, specimen.length]
    graph = helper.make_graph(
        nodes,
        specimen.kind,
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, rows)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [*rows, width])],
        [numpy_helper.from_array(one, name) for name, one in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8  # read by every runtime that a board may have
    onnx.save(model, path)


def _design(specimen: Specimen, path: Path) -> None:
    from edgetran_host.campaign.bundles import export_untrained
    from edgetran_host.space.architecture import Architecture

    layers, hidden, heads, feed_forward = specimen.numbers
    head = f"sa_sdp_{hidden // heads}"
    raw = {
        "l": layers,
        "o": [[head] * heads] * layers,
        "h": [hidden] * layers,
        "f": [[feed_forward]] * layers,
    }
    export_untrained(Architecture.from_dict(raw), specimen.length, path)


_WRITERS: dict[str, Callable[[Specimen, Path], None]] = {
    "products": _products,
    "passes": _passes,
    "design": _design,
}
