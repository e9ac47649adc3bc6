"""One request at a time through edgetran-daemon beside the same graph in process.

The models are the MiniLM seed cut to BERT-Mini's size and a tiny one, exported as a
job exports them; the daemon is a real one, started for this run.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import edgetran
import numpy as np
import onnxruntime
from edgetran_host.export import export_variants
from edgetran_host.export.running import SLOW_FUSIONS
from edgetran_host.job.running import free_cores
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.seeds import load_seed
from edgetran_host.models.text_model import TextModel
from edgetran_host.packing import pack
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.tasks import CLASSIFICATION, Row, Task, encode
from side_by_side import alternate, options, show

SHAPES = {  # name -> layers, hidden, heads, feed-forward
    "BERT-Mini size": (4, 256, 4, 1024),
    "tiny": (2, 64, 2, 128),
}
LENGTH = 128
TEXT = "turn the light in the kitchen on and play some music please"
BLOCKS, RUNS = 10, 60


def main() -> None:
    given = options(__doc__).parse_args()
    threads = given.threads or free_cores()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EDGETRAN_HOME"] = folder
        board = edgetran.connect("local", threads=threads)
        for name, shape in SHAPES.items():
            bundle, graph, tensors = model(Path(folder), *shape)
            board.deploy(bundle, model="bench")
            session = in_process(graph, threads)
            ways = {
                "in process, onnxruntime": lambda: session.run(None, tensors),  # noqa: B023
                "daemon, tensors": lambda: board.infer("bench", tensors),  # noqa: B023
                "daemon, text": lambda: board.answer([TEXT], "bench"),
            }
            found = alternate(ways, blocks=BLOCKS, runs=RUNS, warmup=20)
            title = f"{name}, L={LENGTH}, int8, {threads} threads"
            show(title, found, "in process, onnxruntime", given.json)
        stop(board)


def model(folder: Path, layers: int, hidden: int, heads: int, width: int):  # type: ignore[no-untyped-def]
    """A bundle, its graph, and one encoded row."""
    seed = load_seed("minilm")
    layer = Layer(hidden, ("sa_sdp",) * heads, hidden // heads, (width,))
    config = ModelConfig(
        architecture=Architecture((layer,) * layers),
        vocab_size=seed.config.vocab_size,
        positions="absolute",
        max_positions=LENGTH,
        type_vocab_size=2,
        pad_id=0,
        layer_norm_eps=1e-12,
        dropout=0.1,
        pooling="mean",
        outputs=2,
        sequence_length=LENGTH,
    )
    rows = (Row(TEXT, None, "yes"), Row("no", None, "no"))
    task = Task("bench", CLASSIFICATION, ("no", "yes"), False, "accuracy", rows, rows)
    encoded = encode(seed.tokenizer_json, rows, LENGTH, task)
    exported = export_variants(TextModel(config).eval(), encoded, ("int8",), folder)
    bundle = pack(
        folder / f"{hidden}.tar",
        name="bench",
        task=task,
        exported=exported,
        tokenizer_json=seed.tokenizer_json,
        config=config,
        rows=rows,
        encoded=encoded,
        claims=[],
        licence="Apache-2.0",
    )
    tensors = {
        name: np.ascontiguousarray(getattr(encoded, name)[:1])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    return bundle, exported[0].path.read_bytes(), tensors


def in_process(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(  # as the daemon has it: what differs is the way there
        graph,
        settings,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=SLOW_FUSIONS,
    )


def stop(board: edgetran.Board) -> None:
    """Ends the daemon that `connect` started in the folder of this run."""
    import json
    import signal

    ready = next(Path(os.environ["EDGETRAN_HOME"]).rglob("ready.json"))
    board.close()
    os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)


if __name__ == "__main__":
    main()
