"""Whether hidden states and relations help a student, at equal training time.

The teacher is MiniLM-L6 fine-tuned on the rows; the student is four of its layers, six
heads, feed-forward 768, 8,000 word pieces, as the search makes it. Each way may spend
the CPU time of the first; what the teacher's pass costs is paid from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from edgetran_host.job.child import row_loss
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.seeds import load_seed, seed_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.search.seeded_space import Design, architecture, keep_layers
from edgetran_host.tasks import Encoded, choose_sequence_length, encode, load_task, score
from edgetran_host.training import (
    Guide,
    Recipe,
    distil,
    fine_tune,
    predict,
    teacher_targets,
)
from edgetran_host.transfer import measure_saliency, plan_shrink, shrink
from edgetran_host.vocabulary import trim_tokenizer

ROWS = 8_000
WORDS = 8_000
SALIENCY_ROWS = 256
WAYS = {  # name -> (weight of hidden states, weight of relations)
    "logits": (0.0, 0.0),
    "hidden": (1.0, 0.0),
    "relations": (0.0, 1.0),
    "both": (1.0, 1.0),
}
TEACHER = Recipe(epochs=2, batch_size=16, learning_rate=1e-4)
STUDENT = Recipe(epochs=2, batch_size=32, learning_rate=1.5e-4)
CALIBRATION_ROWS = 640


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="intents", help="a task, or a folder of GLUE's layout")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=STUDENT.epochs, help="of logits alone")
    parser.add_argument("--keep", type=Path, default=None, help="folder for the teacher")
    given = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(given.data, limit=ROWS)
    seed = load_seed("minilm")
    length = choose_sequence_length(seed.tokenizer_json, task)
    teacher = fine_tuned(task, length, given.keep)
    print(f"{task.name}, {len(task.train)} rows, length {length}", flush=True)
    dev = encode(seed.tokenizer_json, task.dev, length, task)
    print(f"teacher     {score(task, predict(teacher, dev)).value:.4f}", flush=True)
    first, tokenizer_json, tokens, kept = student_of(teacher, task, length)
    train = encode(tokenizer_json, task.train, length, task)
    dev = encode(tokenizer_json, task.dev, length, task)
    own = encode(seed.tokenizer_json, task.train, length, task)
    targets, guide = teacher_targets(teacher, own), Guide(teacher, kept, tokens)

    def run(recipe: Recipe, rows: int | None = None) -> tuple[TextModel, float]:
        student = TextModel(first.config)
        student.load_state_dict(first.state_dict())
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            distil(
                student,
                train[:rows],
                targets[:rows],
                task,
                recipe,
                checkpoint=Path(folder),
                guide=guide,
            )
        return student, time.process_time() - started

    epochs = epochs_for_equal_time(run, given.epochs, len(train))
    for name in WAYS:
        found = []
        for number in range(given.seeds):
            recipe = recipe_of(name, epochs[name], number)
            student, seconds = run(recipe)
            value = score(task, predict(student, dev)).value
            found.append(value)
            line = {"way": name, "seed": number, "score": value, "cpu_s": round(seconds, 1)}
            print(json.dumps(line), flush=True)
        spread = float(np.std(found, ddof=1)) if len(found) > 1 else float("nan")
        print(
            f"{name:<11} {np.mean(found):.4f} ± {spread:.4f}, {epochs[name]:.2f} epochs", flush=True
        )


def recipe_of(way: str, epochs: float, seed: int) -> Recipe:
    hidden, relation = WAYS[way]
    return dataclasses.replace(
        STUDENT, epochs=epochs, seed=seed, hidden_weight=hidden, relation_weight=relation
    )


def epochs_for_equal_time(run, epochs: float, rows: int) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Fixed cost (the teacher's pass) and cost an epoch, from one and three short epochs."""
    found, budget = {}, 0.0
    run(recipe_of("logits", 1, 0), CALIBRATION_ROWS)  # warms up
    for name in WAYS:
        one = run(recipe_of(name, 1, 0), CALIBRATION_ROWS)[1]
        three = run(recipe_of(name, 3, 0), CALIBRATION_ROWS)[1]
        an_epoch = (three - one) / 2 * rows / CALIBRATION_ROWS
        fixed = max(0.0, one - (three - one) / 2) * rows / CALIBRATION_ROWS
        if name == "logits":
            budget, fixed = an_epoch * epochs, 0.0
        found[name] = (budget - fixed) / an_epoch
        print(f"{name}: {an_epoch:.1f} CPU-s an epoch, {fixed:.1f} CPU-s before", flush=True)
    return found


def fine_tuned(task, length: int, folder: Path | None) -> TextModel:  # type: ignore[no-untyped-def]
    """Kept in `folder`, so that a second call does not train it again."""
    if folder is not None and folder.exists():
        return load_model(folder)[0]
    seed = load_seed("minilm")
    model = seed_model(seed, max(1, len(task.labels)), length)
    with tempfile.TemporaryDirectory() as checkpoint:
        rows = encode(seed.tokenizer_json, task.train, length, task)
        fine_tune(model, rows, task, TEACHER, checkpoint=Path(checkpoint))
    if folder is not None:
        save_model(model, folder, seed.tokenizer_json)
    return model


def student_of(teacher: TextModel, task, length: int):  # type: ignore[no-untyped-def]
    """The student not trained yet, its tokenizer, its tokens, the layers it kept."""
    seed = load_seed("minilm")
    texts = [text for row in task.train for text in (row.text, row.text_pair) if text]
    tokenizer_json, tokens = trim_tokenizer(seed.tokenizer_json, texts, WORDS)
    parent = teacher.config
    design = Design(layers=4, heads=6, feed_forward=768, vocabulary=WORDS, precision="int8")
    kept = keep_layers(len(parent.architecture.layers), design.layers)
    rows = encode(seed.tokenizer_json, task.train[:SALIENCY_ROWS], length, task)
    saliency = measure_saliency(teacher, [batch(rows)], row_loss(task))
    shape = architecture(parent, design)
    config = dataclasses.replace(
        parent,
        architecture=shape,
        vocab_size=len(tokens),
        pad_id=tokens.index(parent.pad_id),
    )
    plan = plan_shrink(parent, shape, kept, saliency, tokens=tokens)
    return shrink(teacher, plan, config), tokenizer_json, tokens, kept


def batch(rows: Encoded) -> tuple[torch.Tensor, ...]:
    arrays = (rows.input_ids, rows.attention_mask, rows.token_type_ids, rows.labels)
    return tuple(torch.from_numpy(array) for array in arrays)


if __name__ == "__main__":
    main()
