"""Which runtime takes a model in which precision: one table for exporter, tests and documents.

Every cell takes all head kinds, both kinds of positions and mixed widths; the sequence
length is fixed and the batch is free, on the board that is: LiteRT runs a batch row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgetran_protos.errors import UsageError


@dataclass(frozen=True)
class Cell:
    """One runtime at one precision."""

    suffix: str  # of the graph's file
    tolerance: float  # difference from the model, as a share of its logits
    note: str
    calibrated: bool = False  # needs training rows, to scale activations ahead of time

    @property
    def by_mean(self) -> bool:
        """Differences and logits are compared by mean square: 8 bits may turn a row that the model
        itself hardly decides. Else the largest of both are."""
        return self.tolerance == LOOSE


LOOSE = 0.5  # a net for broken graphs; the metric on dev judges what 8 bits cost

CELLS: Mapping[tuple[str, str], Cell] = {
    ("onnxruntime", "fp32"): Cell(".onnx", 1e-4, "as exported"),
    ("onnxruntime", "int8"): Cell(
        ".onnx", LOOSE, "activations scaled at every inference, outlying channels smoothed"
    ),
    ("openvino", "fp32"): Cell(".openvino.tar", 1e-4, "as exported"),
    ("openvino", "fp16"): Cell(".openvino.tar", 2e-2, "weights stored in fp16, computed in fp32"),
    ("openvino", "int8"): Cell(
        ".openvino.tar", LOOSE, "activations scaled once, on training rows", calibrated=True
    ),
    ("openvino", "int8-weights"): Cell(".openvino.tar", LOOSE, "weights only"),
    ("litert", "fp32"): Cell(".tflite", 1e-4, "one row a run; a board runs a batch row by row"),
    ("litert", "int8"): Cell(
        ".tflite", LOOSE, "one row a run; activations scaled at every inference"
    ),
    ("tensorrt", "fp32"): Cell(".tensorrt.onnx", 1e-4, "ONNX of 2021; the board builds an engine"),
    ("tensorrt", "fp16"): Cell(
        ".tensorrt.onnx", 2e-2, "the same, computed in fp16 where the GPU is fast at it"
    ),
    ("myriad", "fp16"): Cell(".myriad.onnx", 2e-2, "ONNX of 2021; a board runs a batch row by row"),
}
MISSING: Mapping[str, str] = {
    "onnxruntime fp16": "not made",
    "onnxruntime int8 with activations scaled once": "measured on encoders of four layers: no "
    "faster than scaled at every inference, at twice the error",
    "torch on a board": "to load a program PyTorch 2.13 calls `torch.load(weights_only=False)` and "
    "`pickle.loads` on parts of it, and a board executes nothing that it was sent",
    "litert int8 with activations scaled once": "measured on encoders of three shapes with 128 "
    "tokens: 3.0 to 4.1 times the time of activations scaled at every inference",
    "litert with a free batch or length": "its converter takes neither",
}
RUNTIMES = tuple(dict.fromkeys(runtime for runtime, _ in CELLS))


def cell(runtime: str, precision: str) -> Cell:
    """Raises UsageError naming what there is."""
    if runtime not in RUNTIMES:
        raise UsageError(f"no runtime {runtime!r}", hint=f"one of {', '.join(RUNTIMES)}")
    if (runtime, precision) not in CELLS:
        known = ", ".join(precision for name, precision in CELLS if name == runtime)
        raise UsageError(f"no precision {precision!r} for {runtime}", hint=f"one of {known}")
    return CELLS[runtime, precision]


def document() -> str:
    """docs/compatibility.md."""
    lines = [
        "# Runtimes and precisions",
        "",
        "Every pair below takes all seven head kinds, absolute and relative positions, layers of",
        "different widths and feed-forward stacks of any depth. The sequence length is fixed in",
        "the graph; a board takes any batch, with LiteRT row by row. The exporter compares each",
        "graph with the model on real rows and writes none that leaves it by more than the",
        "tolerance, a share of the largest logit (or of one, if that is more); in 8 bits of their",
        "root mean square, since a single row that the model hardly decides may turn.",
        "",
        "| runtime | precision | tolerance | |",
        "| --- | --- | --- | --- |",
        *(f"| {r} | {p} | {c.tolerance:g} | {c.note} |" for (r, p), c in CELLS.items()),
        "",
        "What there is not:",
        "",
        *(f"- {what}: {why}." for what, why in MISSING.items()),
        "",
        "Exports for LiteRT are made by litert-torch, whose packages conflict with others of the",
        "host (xdsl needs an older typing-extensions) and take 2.1 GB. It runs by an interpreter",
        "of its own: `python3 -m venv DIR && DIR/bin/pip install litert-torch==0.10.0",
        "torch==2.13.0`, then set `EDGETRAN_LITERT_PYTHON=DIR/bin/python`. Boards need",
        "ai-edge-litert alone.",
        "",
        "Graphs for `tensorrt` and `myriad` are checked and scored by ONNX Runtime, in fp32: no",
        "host has either. What fp16 costs is seen on the board alone.",
        "",
        "`edgetran_host.export.export_program` writes a model as a `torch.export` program for",
        "tools that start from one.",
        "",
        "This page is made from `host/edgetran_host/export/compatibility.py`.",
    ]
    return "\n".join(lines) + "\n"
