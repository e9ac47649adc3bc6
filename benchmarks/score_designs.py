"""Scores of designs around a fine-tuned seed, each trained for real, for `bench_accuracy.py`.

    python benchmarks/score_designs.py FOLDER --share 0/2     (and 1/2 in another process)
    python benchmarks/score_designs.py FOLDER --table benchmarks/scored_designs.json

MiniLM-L6 is fine-tuned on 8,000 training rows of SST-2. Designs keep some of its layers, heads
and neurons, half of them alike in all layers, and 8,000 word pieces. Each is scored with the
seed's weights as they come, and anew after each of three distillations, on training rows that
nothing learnt from. A design is kept as soon as it is finished; the same command goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgetran_host.job.run_directory import write_atomically
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.seeds import load_seed, seed_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.search.seeded_space import keep_layers
from edgetran_host.space.architecture import Architecture
from edgetran_host.tasks import Encoded, Task, choose_sequence_length, encode, load_task
from edgetran_host.training import Recipe, Targets, distil, fine_tune, predict, teacher_targets
from edgetran_host.transfer import Saliency, measure_saliency, plan_shrink, shrink
from edgetran_host.vocabulary import trim_tokenizer

SST2 = Path(__file__).resolve().parents[2] / "shared" / "data" / "glue" / "SST-2"
ROWS, HELD_OUT, WORDS = 8_000, 4_000, 8_000
ROWS_SEED, DESIGNS_SEED = 2026, 20261126
SALIENCY_ROWS, SALIENCY_BATCH = 256, 32
DEPTHS, HEADS, WIDTHS = (2, 3, 4, 5, 6), (3, 4, 6, 9, 12), (256, 384, 576, 768, 1152, 1536)
TEACHER = Recipe(epochs=2, batch_size=16, learning_rate=1e-4)
STUDENT = Recipe(epochs=1, batch_size=32, learning_rate=1.5e-4)
FIDELITIES = {  # name -> rows, epochs; 25, 62 and 375 steps
    "transfer": (0, 0.0),
    "calibrated": (800, 1.0),
    "short": (2_000, 1.0),
    "full": (ROWS, 1.5),
}
AGAIN = "full again"  # with another seed: how far two full trainings of one design lie apart
AGAIN_EVERY = 4


@dataclass(frozen=True)
class Bench:
    """The task, its teacher, and what every design needs of them."""

    task: Task
    teacher: TextModel
    saliency: Saliency
    tokens: tuple[int, ...]
    train: Encoded  # in the cut vocabulary, as the next two
    held_out: Encoded
    dev: Encoded
    targets: Targets
    scores: dict[str, float]  # the teacher's own


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--designs", type=int, default=40)
    parser.add_argument("--share", default="0/1", help="K/N: every N-th design, from the K-th")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--table", type=Path, help="write what is finished, train nothing")
    given = parser.parse_args()
    if given.table:
        write_table(given.folder, given.table)
        return
    torch.set_num_threads(1)
    bench = prepared(given.folder)
    number, parts = map(int, given.share.split("/"))
    mine = [one for one in enumerate(designs(given.designs)) if one[0] % parts == number]
    again = [one for one in mine if one[0] // parts % AGAIN_EVERY == 0]
    work = [(one, name) for one in mine for name in FIDELITIES] + [(one, AGAIN) for one in again]
    until = time.monotonic() + given.seconds
    for (at, design), name in work:
        if time.monotonic() < until:
            score_design(bench, design, given.folder / f"{at:03d}.json", name)


def designs(count: int) -> list[Architecture]:
    """Depths by turns, every other design tied; any first part is a fair sample."""
    parent = seed_model(load_seed("minilm"), 2, 64).config.architecture
    rng = np.random.default_rng(DESIGNS_SEED)
    found: list[Architecture] = []
    while len(found) < count:
        depth = DEPTHS[len(found) // 2 % len(DEPTHS)]
        drawn = 1 if len(found) % 2 == 0 else depth
        shapes = [
            dataclasses.replace(
                parent.layers[0],
                heads=parent.layers[0].heads[: rng.choice(HEADS)],
                feed_forward=(int(rng.choice(WIDTHS)),),
            )
            for _ in range(drawn)
        ]
        design = Architecture(tuple(shapes * (depth // drawn)))
        if design not in found:
            found.append(design)
    return found


def prepared(folder: Path) -> Bench:
    """Two processes may prepare at once: both make the same, and files appear whole."""
    task = load_task(str(SST2))
    rows = list(task.train)
    random.Random(ROWS_SEED).shuffle(rows)
    learnt, held = rows[:ROWS], rows[ROWS : ROWS + HELD_OUT]
    seed = load_seed("minilm")
    length = choose_sequence_length(seed.tokenizer_json, task)
    own = encode(seed.tokenizer_json, learnt, length, task)
    if not (folder / "teacher").is_dir():
        model = seed_model(seed, len(task.labels), length)
        fine_tune(model, own, task, TEACHER, checkpoint=folder / "checkpoint")
        save_model(model, folder / "teacher", seed.tokenizer_json)
    teacher, _ = load_model(folder / "teacher")
    if not (folder / "targets.safetensors").exists():
        teacher_targets(teacher, own).save(folder / "targets.safetensors")
    unseen = {row.text for row in held}
    texts = [row.text for row in rows if row.text not in unseen]
    tokenizer_json, tokens = trim_tokenizer(seed.tokenizer_json, texts, WORDS)
    whole = {
        "held_out": encode(seed.tokenizer_json, held, length, task),
        "dev": encode(seed.tokenizer_json, task.dev, length, task),
    }
    return Bench(
        task=task,
        teacher=teacher,
        saliency=measure_saliency(
            teacher, batches(own[:SALIENCY_ROWS]), torch.nn.functional.cross_entropy
        ),
        tokens=tokens,
        train=encode(tokenizer_json, learnt, length, task),
        held_out=encode(tokenizer_json, held, length, task),
        dev=encode(tokenizer_json, task.dev, length, task),
        targets=Targets.load(folder / "targets.safetensors"),
        scores=scores_of(teacher, whole, folder / "teacher.json"),
    )


def scores_of(teacher: TextModel, rows: dict[str, Encoded], file: Path) -> dict[str, float]:
    if not file.exists():
        found = {name: accuracy(teacher, data) for name, data in rows.items()}
        write_atomically(file, json.dumps(found).encode())
    kept: dict[str, float] = json.loads(file.read_text())
    return kept


def batches(data: Encoded) -> list[tuple[torch.Tensor, ...]]:
    arrays = (data.input_ids, data.attention_mask, data.token_type_ids, data.labels)
    return [
        tuple(torch.from_numpy(array[at : at + SALIENCY_BATCH]) for array in arrays)
        for at in range(0, len(data), SALIENCY_BATCH)
    ]


def score_design(bench: Bench, design: Architecture, file: Path, name: str) -> None:
    """Adds one fidelity to the design's file, if it lacks it."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found |= {"architecture": design.to_dict(), "teacher": bench.scores}
    if name in found:
        return
    rows, epochs = FIDELITIES[name.removesuffix(" again")]
    started = time.process_time()
    child = from_seed(bench, design)
    if rows:
        recipe = dataclasses.replace(STUDENT, epochs=epochs, seed=int(name == AGAIN))
        learn(bench, child, recipe, rows)
    trained = time.process_time()
    found[name] = {
        "held_out": accuracy(child, bench.held_out),
        "cpu_s": round(trained - started, 2),
        "scoring_cpu_s": round(time.process_time() - trained, 2),
        "dev": accuracy(child, bench.dev),
    }
    write_atomically(file, json.dumps(found).encode())
    print(file.stem, name, found[name], flush=True)


def from_seed(bench: Bench, design: Architecture) -> TextModel:
    parent = bench.teacher.config
    kept = keep_layers(len(parent.architecture.layers), len(design.layers))
    config = dataclasses.replace(
        parent,
        architecture=design,
        vocab_size=len(bench.tokens),
        pad_id=bench.tokens.index(parent.pad_id),
    )
    plan = plan_shrink(parent, design, kept, bench.saliency, tokens=bench.tokens)
    return shrink(bench.teacher, plan, config)


def learn(bench: Bench, child: TextModel, recipe: Recipe, rows: int) -> None:
    with tempfile.TemporaryDirectory() as checkpoint:
        distil(
            child,
            bench.train[:rows],
            bench.targets[:rows],
            bench.task,
            recipe,
            checkpoint=Path(checkpoint),
        )


def accuracy(model: TextModel, data: Encoded) -> float:
    return float((predict(model, data).argmax(axis=1) == data.labels).mean())


def write_table(folder: Path, table: Path) -> None:
    """One line a design, those that have every fidelity."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("[0-9]*.json"))]
    whole = [one for one in found if set(FIDELITIES) <= set(one)]
    raw = {
        "format": "edgetran-scored-designs",
        "version": 1,
        "task": "SST-2",
        "seed": "minilm",
        "rows": ROWS,
        "held_out_rows": HELD_OUT,
        "word_pieces": WORDS,
        "teacher": {**whole[0]["teacher"], "recipe": dataclasses.asdict(TEACHER)},
        "student": dataclasses.asdict(STUDENT),
        "fidelities": {
            name: {"rows": rows, "epochs": epochs} for name, (rows, epochs) in FIDELITIES.items()
        },
    }
    head = json.dumps(raw, indent=1).removesuffix("\n}")
    lines = [
        json.dumps({k: v for k, v in one.items() if k != "teacher"}, separators=(",", ":"))
        for one in whole
    ]
    body = ",\n  ".join(lines)
    write_atomically(table, f'{head},\n "designs": [\n  {body}\n ]\n}}\n'.encode())
    print(f"{len(whole)} designs")


if __name__ == "__main__":
    main()
