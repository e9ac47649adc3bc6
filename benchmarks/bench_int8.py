"""What 8 bits cost a trained model in accuracy, by runtime, beside its float graph.

Rows are run one by one, as requests reach a board. Differences are in points, paired by
dev row, with a 95 % interval (a bootstrap over rows). `plain` is ONNX Runtime's dynamic
quantisation without smoothing.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from edgetran_host.export.graph import export_graph
from edgetran_host.export.openvino import export_openvino
from edgetran_host.export.quantisation import quantise_dynamic
from edgetran_host.export.running import run_graph
from edgetran_host.models.checkpoint import load_model
from edgetran_host.tasks import encode, load_task
from side_by_side import RESAMPLES, options

CALIBRATION_ROWS = 32  # of the training rows; as many as the job gives


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("model", type=Path, help="a folder that a training run wrote")
    parser.add_argument("data", help="its task: a folder, or 'intents'")
    given = parser.parse_args()
    model, tokenizer_json = load_model(given.model)
    task = load_task(given.data)
    length = model.config.sequence_length
    dev = encode(tokenizer_json, task.dev, length, task)
    calibration = encode(tokenizer_json, task.train[:CALIBRATION_ROWS], length, task)
    with tempfile.TemporaryDirectory() as folder:
        whole, plain, smoothed, openvino = (
            Path(folder) / name
            for name in ("whole.onnx", "plain.onnx", "smoothed.onnx", "int8.openvino.tar")
        )
        export_graph(model, whole)
        quantise_dynamic(whole, plain)
        quantise_dynamic(whole, smoothed, calibration)
        export_openvino(whole, "int8", openvino, calibration)
        logits = {
            way: run_graph(runtime, path, dev, given.threads or 1)
            for way, runtime, path in (
                ("fp32", "onnxruntime", whole),
                ("onnxruntime int8, plain", "onnxruntime", plain),
                ("onnxruntime int8", "onnxruntime", smoothed),
                ("openvino int8", "openvino", openvino),
            )
        }
    lines = [line(way, found, logits["fp32"], dev.labels) for way, found in logits.items()]
    if given.json:
        print(json.dumps({"benchmark": "int8", "task": task.name, "ways": lines}))
        return
    print(f"{task.name}, {len(dev)} dev rows")
    for found in lines:
        points = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*found["points"])
        print(
            f"  {found['way']:<26} accuracy {found['accuracy']:.2%}  {points} points  "
            f"logit error {found['rms']:.4f}"
        )


def line(way: str, found, whole, labels) -> dict:  # type: ignore[no-untyped-def, type-arg]
    right = (found.argmax(axis=1) == labels).astype(float)
    lost = right - (whole.argmax(axis=1) == labels)
    drawn = np.random.default_rng(0).choice(lost, (RESAMPLES, len(lost))).mean(axis=1)
    return {
        "way": way,
        "accuracy": float(right.mean()),
        "points": [100 * float(x) for x in (lost.mean(), *np.quantile(drawn, (0.025, 0.975)))],
        "rms": float(np.sqrt(np.square(found - whole).mean())),
    }


if __name__ == "__main__":
    main()
