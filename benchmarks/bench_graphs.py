"""Our exported graphs beside those a user gets without us, in ONNX Runtime on one machine.

Ways, all in turn on the same random weights' shapes: ours in fp32 and int8; the same
encoder from `transformers` through torch.onnx (the standard route); ONNX Runtime's
transformer optimiser on that. Each time is also given as a share of the machine's peak:
the graph's FLOPs over the FLOP/s of a large float32 matrix product.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from edgetran_host.export.graph import INPUTS, export_graph
from edgetran_host.export.quantisation import quantise_dynamic
from edgetran_host.export.work import count_work
from edgetran_host.job.running import free_cores
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from side_by_side import Ratio, alternate, options, ratio

VOCABULARY, OUTPUTS, OPSET = 8_000, 2, 18
SGEMM_SIZE = 2048
REFERENCE = "transformers, standard export"


@dataclass(frozen=True)
class Shape:
    name: str
    layers: tuple[Layer, ...]

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
    "mini": Shape("BERT-Mini", uniform(4, 256, 4, 1024)),
    "base": Shape("BERT-Base", uniform(12, 768, 12, 3072)),
    "mixed": Shape("mixed heads and widths", MIXED),
}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--lengths", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--blocks", type=int, default=8)
    given = parser.parse_args()
    threads = given.threads or free_cores()
    if not given.json:
        print(f"{threads} threads, onnxruntime {onnxruntime.__version__}")
    for key in given.shapes:
        for length in given.lengths:
            with tempfile.TemporaryDirectory() as folder, quiet():
                graphs = build(SHAPES[key], length, Path(folder), threads)
                for batch in given.batches:
                    report(SHAPES[key], length, batch, graphs, threads, given)


def build(
    shape: Shape, length: int, folder: Path, threads: int
) -> dict[str, tuple[onnxruntime.InferenceSession, float]]:
    """way -> (session, float operations a row)."""
    model = ours(shape, length)
    export_graph(model, folder / "ours.onnx")
    quantise_dynamic(folder / "ours.onnx", folder / "ours-int8.onnx")
    files = {"ours, fp32": "ours.onnx", "ours, int8": "ours-int8.onnx"}
    if shape.homogeneous:
        standard_export(shape, length, folder / "standard.onnx")
        optimise(shape, folder / "standard.onnx", folder / "optimised.onnx")
        files |= {REFERENCE: "standard.onnx", "the same, ORT optimiser": "optimised.onnx"}
    flops = count_work(folder / "ours.onnx").matmul_flops
    return {way: (session(folder / file, threads), flops) for way, file in files.items()}


def report(shape, length, batch, graphs, threads, given) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    tensors = {
        "input_ids": rng.integers(1, VOCABULARY, (batch, length)),
        "attention_mask": np.ones((batch, length), np.int64),
        "token_type_ids": np.zeros((batch, length), np.int64),
    }
    ways = {
        way: (lambda s=found: s.run(None, tensors))  # type: ignore[misc]
        for way, (found, _) in graphs.items()
    }
    once = time.perf_counter()
    next(iter(ways.values()))()
    runs = int(np.clip(0.3 / (time.perf_counter() - once), 3, 50))
    seconds = alternate(ways, blocks=given.blocks, runs=runs)
    peak = sgemm_flops(threads)  # here, since a neighbour's load changes it
    reference = REFERENCE if REFERENCE in seconds else "ours, fp32"
    lines = []
    for way, found in seconds.items():
        p50 = float(np.median(found))
        share: Ratio = ratio(found, seconds[reference])
        reached = graphs[way][1] * batch / p50 / peak
        lines.append({"way": way, "p50_ms": p50 * 1e3, "ratio": share.__dict__, "of_peak": reached})
    title = f"{shape.name}, L={length}, batch {batch}"
    if given.json:
        print(json.dumps({"benchmark": "graphs", "case": title, "ways": lines}))
        return
    print(f"{title}  (ratio to: {reference})")
    for line in lines:
        share = Ratio(**line["ratio"])
        times = f"p50 {line['p50_ms']:9.3f} ms  x{share}"
        print(f"  {line['way']:<32} {times}  {line['of_peak']:.0%} of peak")


def ours(shape: Shape, length: int) -> TextModel:
    config = ModelConfig(
        architecture=Architecture(shape.layers),
        vocab_size=VOCABULARY,
        positions="absolute",
        max_positions=length,
        type_vocab_size=2,
        pad_id=0,
        layer_norm_eps=1e-12,
        dropout=0.1,
        pooling="mean",
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
        output_names=["logits"],
        dynamic_shapes=tuple({0: batch} for _ in INPUTS),
        external_data=False,
        verbose=False,
    )
    program.save(str(path))


def optimise(shape: Shape, source: Path, target: Path) -> None:
    from onnxruntime.transformers import optimizer

    layer = shape.layers[0]
    found = optimizer.optimize_model(
        str(source), model_type="bert", num_heads=len(layer.heads), hidden_size=layer.hidden
    )
    found.save_model_to_file(str(target))


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def sgemm_flops(threads: int) -> float:
    """FLOP/s of a large float32 product, the best of several."""
    torch.set_num_threads(threads)
    a, b = torch.randn(SGEMM_SIZE, SGEMM_SIZE), torch.randn(SGEMM_SIZE, SGEMM_SIZE)
    best = float("inf")
    for _ in range(20):
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * SGEMM_SIZE**3 / best


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters speak of optional packages and of progress; the table is what counts."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


if __name__ == "__main__":
    main()
