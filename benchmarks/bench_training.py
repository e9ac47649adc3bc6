"""Rows a second of our fine-tuning loop beside Hugging Face's Trainer.

Same weights (the MiniLM seed), rows (the shipped task), batch size, learning rate
schedule, precision and threads; the Trainer gets the library's own BERT with dynamic
padding, once as it comes and once with its own grouping by length, which we always do.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from edgetran_host.job.running import free_cores
from edgetran_host.models.seeds import PACKAGED, _package_folder, load_seed, seed_model
from edgetran_host.tasks import encode, load_task
from edgetran_host.training import Recipe, fine_tune
from edgetran_host.training.precision import has_fast_bf16
from side_by_side import options, ratio

ROWS, LENGTH, BATCH = 640, 32, 32
BLOCKS = 4


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--data", default="intents", help="a task, or a folder of GLUE's layout")
    given = parser.parse_args()
    task = load_task(given.data, limit=ROWS)
    counts = [given.threads] if given.threads else sorted({1, free_cores()}, reverse=True)
    for threads in counts:
        torch.set_num_threads(threads)
        seconds: dict[str, list[float]] = {"ours": [], "Trainer": [], "Trainer, by length": []}
        for _ in range(given.blocks):
            seconds["ours"].append(ours(task, threads))
            seconds["Trainer"].append(trainer(task, "random"))
            seconds["Trainer, by length"].append(trainer(task, "group_by_length"))
        show_rates(task.name, threads, seconds, given.json)


def show_rates(name: str, threads: int, seconds: Mapping[str, list[float]], as_json: bool) -> None:
    found = {way: np.array(values)[:, None] for way, values in seconds.items()}
    rates = {way: ROWS / float(np.median(values)) for way, values in seconds.items()}
    shares = {way: ratio(values, found["ours"]) for way, values in found.items() if way != "ours"}
    if as_json:
        faster = {way: share.__dict__ for way, share in shares.items()}
        line = {"benchmark": "training", "data": name, "threads": threads, "rows_s": rates}
        print(json.dumps({**line, "speed_up": faster}))
        return
    print(f"fine-tuning MiniLM-L6, {name}, {ROWS} rows, batch {BATCH}, {threads} threads")
    for way, rate in rates.items():
        note = f"  ours is {shares[way]} times as fast" if way in shares else ""
        print(f"  {way:<20} {rate:8.1f} rows/s{note}", flush=True)


def ours(task, threads: int) -> float:  # type: ignore[no-untyped-def]
    seed = load_seed("minilm")
    model = seed_model(seed, len(task.labels), LENGTH)
    rows = encode(seed.tokenizer_json, task.train, LENGTH, task)
    recipe = Recipe(epochs=1, batch_size=BATCH, learning_rate=5e-5)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        fine_tune(model, rows, task, recipe, checkpoint=Path(folder), threads=threads)
        return time.perf_counter() - started


def trainer(task, order: str) -> float:  # type: ignore[no-untyped-def]
    from datasets import Dataset, disable_progress_bars
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        PrinterCallback,
        Trainer,
        TrainingArguments,
    )
    from transformers.utils import logging as library_logging

    library_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    disable_progress_bars()
    library_logging.disable_progress_bar()
    source = _package_folder("minilm", PACKAGED["minilm"])
    tokenizer = AutoTokenizer.from_pretrained(source)
    places = {label: at for at, label in enumerate(task.labels)}
    table = Dataset.from_dict(
        {
            "text": [row.text for row in task.train],
            "label": [places[row.label] for row in task.train],
        }
    ).map(lambda row: tokenizer(row["text"], truncation=True, max_length=LENGTH), batched=True)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=len(places))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=5e-5,
            warmup_steps=0.06,  # below one: a share of all steps
            weight_decay=0.01,
            bf16=has_fast_bf16(),
            use_cpu=True,
            train_sampling_strategy=order,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        loop = Trainer(
            model=model,
            args=arguments,
            train_dataset=table.remove_columns("text"),
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        loop.remove_callback(PrinterCallback)
        started = time.perf_counter()
        loop.train()
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
