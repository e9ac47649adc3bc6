"""Whether a factorised embedding wins accuracy at equal weights, that is at equal int8 bytes.

A fine-tuned MiniLM is shrunk to four layers and six heads by saliency. What its word
embedding weighs is saved by narrow tables or by fewer word pieces, and spent on wider
feed-forward layers; every child has the weights of the first, to one neuron. Each is
distilled alike from its start; the score at once is that start.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from edgetran_host.models.factorising import factorise_embedding
from edgetran_host.models.seeds import Seed, load_seed, seed_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.search.seeded_space import Design, architecture, keep_layers
from edgetran_host.tasks import Encoded, Task, choose_sequence_length, encode, load_task, score
from edgetran_host.training import Recipe, distil, fine_tune, predict, teacher_targets
from edgetran_host.transfer import Saliency, measure_saliency, plan_shrink, shrink
from edgetran_host.vocabulary import trim_tokenizer

LAYERS, HEADS, FEED_FORWARD = 4, 6, 768
TEACHER = Recipe(epochs=1, batch_size=16, learning_rate=1e-4)
STUDENT = Recipe(epochs=2, batch_size=32, learning_rate=1.5e-4)
SALIENCY_ROWS = 256


@dataclass(frozen=True)
class Way:
    words: int
    width: int | None  # of the tables; None: not factorised


@dataclass(frozen=True)
class Bench:
    task: Task
    seed: Seed
    teacher: TextModel
    saliency: Saliency
    length: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="intents", help="a task, or a folder of GLUE's layout")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--words", type=int, nargs=2, default=(8000, 2700), help="many, few")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bench = prepared(load_task(given.data, limit=given.rows))
    many, few = given.words
    ways = {
        "whole tables": Way(many, None),
        "tables of 192": Way(many, 192),
        "tables of 128": Way(many, 128),
        "tables of 64": Way(many, 64),
        "fewer words": Way(few, None),
    }
    budget = weights(child(bench, ways["whole tables"], FEED_FORWARD)[0])
    for name, way in ways.items():
        report(bench, name, way, budget, given.seeds)


def prepared(task: Task) -> Bench:
    seed = load_seed("minilm")
    length = choose_sequence_length(seed.tokenizer_json, task)
    teacher = seed_model(seed, len(task.labels), length)
    rows = encode(seed.tokenizer_json, task.train, length, task)
    with tempfile.TemporaryDirectory() as folder:
        fine_tune(teacher, rows, task, TEACHER, checkpoint=Path(folder))
    dev = encode(seed.tokenizer_json, task.dev, length, task)
    print(f"{task.name}: {len(rows)} rows, length {length}, teacher", end=" ")
    print(f"{score(task, predict(teacher, dev)).value:.4f}", flush=True)
    cross_entropy = torch.nn.functional.cross_entropy
    saliency = measure_saliency(teacher, [batch(rows[:SALIENCY_ROWS])], cross_entropy)
    return Bench(task, seed, teacher, saliency, length)


def report(bench: Bench, name: str, way: Way, budget: int, seeds: int) -> None:
    """Scores at once and distilled, by the seed of the distillation."""
    per_neuron = weights(child(bench, way, 16)[0]) - weights(child(bench, way, 8)[0])
    narrow = weights(child(bench, way, 8)[0])
    neurons = 8 + round((budget - narrow) / (per_neuron / 8))
    whole = bench.teacher.config.architecture.layers[0].feed_forward[0]
    first, tokenizer_json, error = child(bench, way, min(neurons, whole))
    task = bench.task
    train, dev = (
        encode(tokenizer_json, rows, bench.length, task) for rows in (task.train, task.dev)
    )
    own = encode(bench.seed.tokenizer_json, task.train, bench.length, task)
    targets = teacher_targets(bench.teacher, own)
    found = []
    for number in range(seeds):
        student = TextModel(first.config)
        student.load_state_dict(first.state_dict())
        recipe = dataclasses.replace(STUDENT, seed=number)
        with tempfile.TemporaryDirectory() as folder:
            distil(student, train, targets, task, recipe, checkpoint=Path(folder))
        found.append(score(task, predict(student, dev)).value)
    line = {
        "way": name,
        "words": first.config.vocab_size,
        "feed_forward": first.config.architecture.layers[0].feed_forward[0],
        "weights": weights(first),
        "relative_error": error and round(error, 3),
        "at_once": round(score(task, predict(first, dev)).value, 4),
        "distilled": [round(value, 4) for value in found],
        "mean": round(float(np.mean(found)), 4),
    }
    print(json.dumps(line), flush=True)


def child(bench: Bench, way: Way, feed_forward: int) -> tuple[TextModel, bytes, float | None]:
    """Not trained yet; its tokenizer; what factorising lost of the embedded tokens."""
    parent, task = bench.teacher.config, bench.task
    texts = [text for row in task.train for text in (row.text, row.text_pair) if text]
    tokenizer_json, tokens = trim_tokenizer(bench.seed.tokenizer_json, texts, way.words)
    shape = architecture(parent, Design(LAYERS, HEADS, feed_forward, way.words, "int8"))
    kept = keep_layers(len(parent.architecture.layers), LAYERS)
    config = dataclasses.replace(
        parent, architecture=shape, vocab_size=len(tokens), pad_id=tokens.index(parent.pad_id)
    )
    plan = plan_shrink(parent, shape, kept, bench.saliency, tokens=tokens)
    model = shrink(bench.teacher, plan, config)
    if way.width is None:
        return model, tokenizer_json, None
    ids = encode(tokenizer_json, task.train, bench.length, task).input_ids
    used = Counter(ids.ravel().tolist())
    used[config.pad_id] = 0
    counts = [used[at] + 1.0 for at in range(len(tokens))]
    found = factorise_embedding(model, way.width, counts)
    return found.model, tokenizer_json, found.relative_error


def weights(model: TextModel) -> int:
    return sum(weight.numel() for weight in model.parameters())


def batch(rows: Encoded) -> tuple[torch.Tensor, ...]:
    arrays = (rows.input_ids, rows.attention_mask, rows.token_type_ids, rows.labels)
    return tuple(torch.from_numpy(array) for array in arrays)


if __name__ == "__main__":
    main()
