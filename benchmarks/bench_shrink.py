"""Which weights a smaller model should start from: the salient, the first, or any.

A fine-tuned MiniLM is shrunk to a few shapes by three maps of `edgetran_host.transfer`:
the most salient heads and neurons of evenly spread layers, the first of everything (the
published way), and a random choice of all three. Each child is scored on dev at once,
and after the same short distillation. Differences are paired by dev row; their 95 %
interval is a bootstrap over rows, a random map's entry the mean over its seeds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.seeds import load_seed, seed_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture
from edgetran_host.tasks import Encoded, Task, encode, load_task
from edgetran_host.training import Recipe, Targets, distil, fine_tune, predict, teacher_targets
from edgetran_host.transfer import (
    Saliency,
    WeightMap,
    measure_saliency,
    prefix_map,
    salient_map,
    transfer,
)
from side_by_side import RESAMPLES, options

SST2 = Path(__file__).resolve().parents[2] / "shared" / "data" / "glue" / "SST-2"
TEACHER_ROWS, LENGTH = 8000, 64
TEACHER = Recipe(epochs=1, batch_size=16, learning_rate=1e-4)
SHORT = Recipe(epochs=1, batch_size=32, learning_rate=1.5e-4)
SALIENCY_ROWS, SALIENCY_BATCH = 256, 32
SHAPES = {  # layers, share of heads and of neurons that stay
    "half heads, half neurons": (6, 0.5),
    "4 of 6 layers": (4, 1.0),
    "4 layers, half heads, half neurons": (4, 0.5),
}
STAGES = ("at once", "distilled")


@dataclass(frozen=True)
class Bench:
    """One task with its teacher, and what every child needs of them."""

    task: Task
    teacher: TextModel
    train: Encoded  # the rows of the short distillation
    dev: Encoded
    targets: Targets
    saliency: Saliency
    threads: int


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--cache", type=Path, help="folder that keeps the fine-tuned teachers")
    parser.add_argument("--rows", type=int, default=1000, help="rows of the short distillation")
    parser.add_argument("--seeds", type=int, default=3, help="random maps a shape")
    given = parser.parse_args()
    threads = given.threads or 1
    torch.set_num_threads(threads)
    found = []
    with folder_of(given.cache) as cache:
        for source in (str(SST2), "intents"):
            if source == str(SST2) and not SST2.is_dir():
                print("SST-2 is left out: no shared/data/glue/SST-2 beside the repository")
                continue
            found.append(compare(prepared(source, cache, given.rows, threads), given.seeds))
            if not given.json:
                show(found[-1])
    if given.json:
        print(json.dumps({"benchmark": "shrink", "tasks": found}))


@contextlib.contextmanager
def folder_of(cache: Path | None) -> Iterator[Path]:
    if cache is not None:
        yield cache
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def prepared(source: str, cache: Path, rows: int, threads: int) -> Bench:
    task = load_task(source, limit=TEACHER_ROWS)
    folder = cache / f"{task.name}-{len(task.train)}x{TEACHER.epochs}"
    if not (folder / "model").is_dir():
        seed = load_seed("minilm")
        model = seed_model(seed, len(task.labels), LENGTH)
        data = encode(seed.tokenizer_json, task.train, LENGTH, task)
        print(f"fine-tuning on {len(data)} rows of {task.name} ...", file=sys.stderr)
        fine_tune(model, data, task, TEACHER, checkpoint=folder / "checkpoint", threads=threads)
        save_model(model, folder / "model", seed.tokenizer_json)
    teacher, tokenizer_json = load_model(folder / "model")
    train = encode(tokenizer_json, task.train[:rows], LENGTH, task)
    return Bench(
        task=task,
        teacher=teacher,
        train=train,
        dev=encode(tokenizer_json, task.dev, LENGTH, task),
        targets=teacher_targets(teacher, train, threads=threads),
        saliency=measure_saliency(
            teacher, batches(train[:SALIENCY_ROWS]), torch.nn.functional.cross_entropy
        ),
        threads=threads,
    )


def batches(data: Encoded) -> list[tuple[torch.Tensor, ...]]:
    arrays = (data.input_ids, data.attention_mask, data.token_type_ids, data.labels)
    return [
        tuple(torch.from_numpy(array[at : at + SALIENCY_BATCH]) for array in arrays)
        for at in range(0, len(data), SALIENCY_BATCH)
    ]


def compare(bench: Bench, seeds: int) -> dict[str, object]:
    """Every shape, map and stage; the rows' differences over all shapes at the end."""
    shapes, over_all = [], {stage: [] for stage in STAGES}
    for name, (layers, share) in SHAPES.items():
        shape = smaller(bench.teacher.config.architecture, layers, share)
        right = {way: score(bench, shape, maps) for way, maps in ways(bench, shape, seeds).items()}
        for stage in STAGES:
            over_all[stage].append({way: found[stage] for way, found in right.items()})
        shapes.append(
            {
                "shape": name,
                "parameters": parameters(bench, shape),
                **{stage: summary(over_all[stage][-1:]) for stage in STAGES},
            }
        )
    return {
        "task": bench.task.name,
        "dev_rows": len(bench.dev),
        "distilled_rows": len(bench.train),
        "teacher": float(correct(bench, bench.teacher).mean()),
        "shapes": shapes,
        "all shapes": {stage: summary(over_all[stage]) for stage in STAGES},
    }


def smaller(whole: Architecture, layers: int, share: float) -> Architecture:
    layer = whole.layers[0]
    return Architecture(
        (
            dataclasses.replace(
                layer,
                heads=layer.heads[: round(share * len(layer.heads))],
                feed_forward=tuple(round(share * width) for width in layer.feed_forward),
            ),
        )
        * layers
    )


def ways(bench: Bench, shape: Architecture, seeds: int) -> dict[str, list[WeightMap]]:
    whole = bench.teacher.config.architecture
    return {
        "salient": [salient_map(whole, shape, bench.saliency)],
        "prefix": [prefix_map(whole, shape)],
        "random": [random_map(whole, shape, seed) for seed in range(seeds)],
    }


def random_map(whole: Architecture, shape: Architecture, seed: int) -> WeightMap:
    rng = np.random.default_rng(seed)
    layers = np.sort(rng.choice(len(whole.layers), len(shape.layers), replace=False))
    drawn = Saliency(
        [torch.tensor(rng.random(len(layer.heads))) for layer in whole.layers],
        [[torch.tensor(rng.random(f)) for f in layer.feed_forward] for layer in whole.layers],
    )
    return salient_map(whole, shape, drawn, layers=tuple(layers.tolist()))


def score(bench: Bench, shape: Architecture, maps: list[WeightMap]) -> dict[str, np.ndarray]:
    """stage -> which dev rows are right (rows,), a mean over the maps."""
    config = dataclasses.replace(bench.teacher.config, architecture=shape)
    found: dict[str, list[np.ndarray]] = {stage: [] for stage in STAGES}
    for weights in maps:
        child = transfer(bench.teacher, weights, config)
        found["at once"].append(correct(bench, child))
        with tempfile.TemporaryDirectory() as folder:
            distil(
                child,
                bench.train,
                bench.targets,
                bench.task,
                SHORT,
                checkpoint=Path(folder),
                threads=bench.threads,
            )
        found["distilled"].append(correct(bench, child))
    return {stage: np.mean(rows, axis=0) for stage, rows in found.items()}


def parameters(bench: Bench, shape: Architecture) -> int:
    model = TextModel(dataclasses.replace(bench.teacher.config, architecture=shape))
    return sum(parameter.numel() for parameter in model.parameters())


def correct(bench: Bench, model: TextModel) -> np.ndarray:
    return predict(model, bench.dev, bench.threads).argmax(axis=1) == bench.dev.labels


def summary(shapes: list[dict[str, np.ndarray]]) -> dict[str, object]:
    """Accuracy by way, and the salient map's lead over the others, over these shapes."""
    right = {way: np.mean([shape[way] for shape in shapes], axis=0) for way in shapes[0]}
    leads = {way: interval(right["salient"] - right[way]) for way in right if way != "salient"}
    return {"accuracy": {way: float(rows.mean()) for way, rows in right.items()}, "lead": leads}


def interval(differences: np.ndarray) -> tuple[float, float, float]:
    """Mean over dev rows (rows,) and its 95 % interval."""
    rng = np.random.default_rng(0)
    drawn = rng.choice(differences, (RESAMPLES, len(differences))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(differences.mean()), float(low), float(high)


def show(found: dict) -> None:  # type: ignore[type-arg]
    print(
        f"{found['task']}: teacher {found['teacher']:.1%} of {found['dev_rows']} dev rows, "
        f"distilled on {found['distilled_rows']} rows"
    )
    every = [*found["shapes"], {"shape": "all shapes", **found["all shapes"]}]
    for line in every:
        size = f", {line['parameters'] / 1e6:.1f} M" if "parameters" in line else ""
        print(f"  {line['shape']}{size}")
        for stage in STAGES:
            scores = "  ".join(f"{w} {a:6.1%}" for w, a in line[stage]["accuracy"].items())
            leads = "  ".join(
                f"over {way} {lead[0] * 100:+.1f} [{lead[1] * 100:+.1f}, {lead[2] * 100:+.1f}]"
                for way, lead in line[stage]["lead"].items()
            )
            print(f"    {stage:<10} {scores}   salient {leads} points")
    for stage in STAGES:
        for way, lead in found["all shapes"][stage]["lead"].items():
            print(f"  {stage}: {verdict(way, *lead)}")


def verdict(way: str, mean: float, low: float, high: float) -> str:
    if low <= 0 <= high:
        return f"salient and {way} cannot be told apart"
    word = "better" if mean > 0 else "worse"
    return f"salient is {abs(mean) * 100:.1f} points {word} than {way}"


if __name__ == "__main__":
    main()
