"""What bench_graphs.py times: one shape as graphs of ours and of the standard route.

Each way is made once into a folder and found there again, since Base takes minutes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgetran_host.export.graph import INPUTS, OUTPUT, export_graph
from edgetran_host.export.litert import SETTING, export_litert
from edgetran_host.export.openvino import PROPERTIES, export_openvino
from edgetran_host.export.quantisation import quantise_dynamic
from edgetran_host.export.running import SESSIONS, Run
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.seeds import load_seed, seed_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.tasks import Encoded

VOCABULARY, OUTPUTS, OPSET, CALIBRATION_ROWS = 8_000, 2, 18, 32


@dataclass(frozen=True)
class Shape:
    name: str
    layers: tuple[Layer, ...]
    seed: str = ""  # real weights, whose outlying channels smoothing finds

    @property
    def homogeneous(self) -> bool:
        """Whether `transformers` has a counterpart."""
        first = self.layers[0]
        return set(first.heads) == {"sa_sdp"} and all(layer == first for layer in self.layers)


def uniform(count: int, hidden: int, heads: int, width: int) -> tuple[Layer, ...]:
    return (Layer(hidden, ("sa_sdp",) * heads, hidden // heads, (width,)),) * count


MIXED = (
    Layer(256, ("sa_sdp", "sa_wma", "l_dft", "c_5"), 64, (1024,)),
    Layer(512, ("sa_sdp",) * 4 + ("l_dct",) * 2 + ("c_9", "c_13"), 64, (1024, 512)),
    Layer(256, ("sa_sdp", "sa_sdp", "sa_wma", "c_9"), 64, (2048,)),
    Layer(256, ("sa_sdp", "sa_wma", "l_dct", "c_13"), 64, (1024,)),
)
SHAPES = {
    "minilm": Shape("MiniLM-L6", uniform(6, 384, 12, 1536), seed="minilm"),
    "mini": Shape("BERT-Mini", uniform(4, 256, 4, 1024)),
    "base": Shape("BERT-Base", uniform(12, 768, 12, 3072)),
    "mixed": Shape("mixed heads and widths", MIXED),
}
TWIN = Shape("a plain model of the mixed one's size", uniform(4, 320, 5, 1280))


@dataclass(frozen=True)
class Way:
    """One graph in one runtime."""

    ours: bool
    runtime: str
    precision: str
    note: str = ""

    def __str__(self) -> str:
        whose = "ours" if self.ours else "standard"
        return f"{whose}, {self.runtime} {self.precision}" + (f", {self.note}" if self.note else "")


REFERENCE = Way(False, "onnxruntime", "fp32")
SOURCE = Way(True, "onnxruntime", "fp32")


def ways_of(shape: Shape, *, litert: bool) -> list[Way]:
    found = [
        SOURCE,
        Way(True, "onnxruntime", "int8", "unsmoothed"),
        Way(True, "onnxruntime", "int8"),
        Way(True, "openvino", "fp32"),
        Way(True, "openvino", "int8"),
    ]
    if litert and os.environ.get(SETTING):
        found += [Way(True, "litert", "fp32"), Way(True, "litert", "int8")]
    if shape.homogeneous:
        found += [
            REFERENCE,
            Way(False, "onnxruntime", "fp32", "its optimiser"),
            Way(False, "onnxruntime", "int8"),
            Way(False, "onnxruntime", "int8", "its optimiser"),
            Way(False, "openvino", "fp32"),
            Way(False, "openvino", "int8"),
        ]
    return found


class Graphs:
    """The graphs of one shape and length in a folder."""

    def __init__(self, shape: Shape, length: int, folder: Path) -> None:
        self.shape, self.length, self.folder = shape, length, folder
        self._model: TextModel | None = None

    def path(self, way: Way) -> Path:
        """Of the graph, made now if it is not there."""
        words = ("ours" if way.ours else "standard", way.runtime, way.precision, *way.note.split())
        suffix = {"onnxruntime": ".onnx", "openvino": ".xml", "litert": ".tflite"}[way.runtime]
        if way.ours and way.runtime == "openvino":
            suffix = ".openvino.tar"
        path = self.folder / ("-".join(words) + suffix)
        if not path.exists():
            made = path.with_name(f"new-{path.name}")
            (self._ours if way.ours else self._standard)(way, made)
            if suffix == ".xml":
                made.with_suffix(".bin").replace(path.with_suffix(".bin"))
            made.replace(path)
        return path

    def session(self, way: Way, threads: int) -> Run:
        if not way.ours:
            return PLAIN_SESSIONS[way.runtime](self.path(way), threads)
        return SESSIONS[way.runtime](self.path(way), threads)

    def _ours(self, way: Way, target: Path) -> None:
        if way == SOURCE:
            export_graph(self._trained(), target)
        elif way.runtime == "onnxruntime":
            rows = None if way.note else self._calibration()
            quantise_dynamic(self.path(SOURCE), target, rows)
        elif way.runtime == "openvino":
            export_openvino(self.path(SOURCE), way.precision, target, self._calibration())
        else:
            export_litert(self._trained(), way.precision, target)

    def _standard(self, way: Way, target: Path) -> None:
        """By the tools' defaults."""
        if way == REFERENCE:
            standard_export(self.shape, self.length, target)
        elif way.runtime == "openvino":
            self._standard_openvino(way.precision, target)
        elif way.precision == "int8":
            from onnxruntime.quantization import quantize_dynamic

            quantize_dynamic(self.path(Way(False, "onnxruntime", "fp32", way.note)), target)
        else:
            optimise(self.shape, self.path(REFERENCE), target)

    def _standard_openvino(self, precision: str, target: Path) -> None:
        openvino = openvino_package()
        model = openvino.convert_model(self.path(REFERENCE))
        if precision == "int8":
            import nncf

            rows = self._calibration()
            feeds = [tensors(rows[at : at + 1]) for at in range(len(rows))]
            model = nncf.quantize(model, nncf.Dataset(feeds), model_type=nncf.ModelType.TRANSFORMER)
        openvino.save_model(model, target, compress_to_fp16=False)

    def _trained(self) -> TextModel:
        if self._model is None:
            self._model = ours(self.shape, self.length)
        return self._model

    def _calibration(self) -> Encoded:
        return random_rows(CALIBRATION_ROWS, self.length)


def random_rows(count: int, length: int) -> Encoded:
    ids = np.random.default_rng(0).integers(1, VOCABULARY, (count, length))
    return Encoded(ids, np.ones_like(ids), np.zeros_like(ids), np.zeros(count, np.int64))


def tensors(rows: Encoded) -> dict[str, Any]:
    return {name: getattr(rows, name) for name in INPUTS}


def ours(shape: Shape, length: int) -> TextModel:
    torch.manual_seed(0)
    if shape.seed:
        return seed_model(load_seed(shape.seed), OUTPUTS, length, pooling="cls")
    config = ModelConfig(
        architecture=Architecture(shape.layers),
        vocab_size=VOCABULARY,
        positions="absolute",
        max_positions=length,
        type_vocab_size=2,
        pad_id=0,
        layer_norm_eps=1e-12,
        dropout=0.1,
        pooling="cls",
        outputs=OUTPUTS,
        sequence_length=length,
    )
    return TextModel(config).eval()


def standard_export(shape: Shape, length: int, path: Path) -> None:
    """What `transformers` and torch.onnx give: the library's own classifier."""
    from transformers import BertConfig, BertForSequenceClassification

    layer = shape.layers[0]
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=layer.hidden,
        num_hidden_layers=len(shape.layers),
        num_attention_heads=len(layer.heads),
        intermediate_size=layer.feed_forward[0],
        num_labels=OUTPUTS,
    )
    model = BertForSequenceClassification(config).eval()
    example = tuple(torch.ones(2, length, dtype=torch.int64) for _ in INPUTS)
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.onnx.export(
        model,
        example,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        dynamic_shapes=tuple({0: batch} for _ in INPUTS),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    program.save(str(path))


def optimise(shape: Shape, source: Path, target: Path) -> None:
    from onnxruntime.transformers import optimizer

    layer = shape.layers[0]
    found = optimizer.optimize_model(
        str(source), model_type="bert", num_heads=len(layer.heads), hidden_size=layer.hidden
    )
    found.save_model_to_file(str(target))


def openvino_package() -> Any:
    """Without what reports its use and writes into the home directory."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def plain_openvino_session(path: Path, threads: int, output: str = OUTPUT) -> Run:
    properties = {**PROPERTIES, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino_package().Core().compile_model(path, "CPU", properties)
    request = compiled.create_infer_request()
    run: Callable[[dict[str, Any]], Any] = lambda feeds: request.infer(feeds)[output]  # noqa: E731
    return run


def plain_onnx_session(path: Path, threads: int, output: str = OUTPUT) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    run: Callable[[dict[str, Any]], Any] = lambda feeds: session.run([output], feeds)[0]  # noqa: E731
    return run


PLAIN_SESSIONS = {"onnxruntime": plain_onnx_session, "openvino": plain_openvino_session}
