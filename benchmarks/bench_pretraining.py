"""Pre-trains designs on text, and what that is worth when they are fine-tuned on a task.

    bench_pretraining.py learn FOLDER --text DATA/text --design bert-mini --for 15min
    bench_pretraining.py gain FOLDER... --data DATA/SST-2 --rows 2000

`learn` is `edgetran pretrain` without its command line (a machine that computes may lack
its libraries). `gain` fine-tunes each pre-trained seed and the same design with random
weights and the same tokenizer, with several random seeds and learning rates; the rate is
chosen on held-out training rows, the score is that of the task's dev rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from edgetran.progress import Progress

RATES = (3e-4, 1e-3)
VALID_SHARE = 0.1  # of the training rows, to choose a rate by


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    learning = kinds.add_parser("learn")
    learning.add_argument("folder", type=Path)
    learning.add_argument("--text", nargs="+", required=True)
    learning.add_argument("--design", default="bert-mini")
    learning.add_argument("--for", dest="period", default=None)
    learning.add_argument("--tokens", type=int, default=0)
    for name, kind, default in (
        ("vocabulary", int, 8192),
        ("sequence-length", int, 128),
        ("batch-size", int, 256),
        ("learning-rate", float, 1e-3),
        ("dropout", float, 0.1),
        ("threads", int, 1),
    ):
        learning.add_argument(f"--{name}", type=kind, default=default)
    learning.add_argument("--positions", default="relative")
    learning.add_argument("--device", default="auto")
    learning.add_argument("--compile", dest="compiled", action="store_true")
    learning.set_defaults(run=learn)
    gaining = kinds.add_parser("gain")
    gaining.add_argument("folders", nargs="+", type=Path)
    gaining.add_argument("--data", nargs="+", required=True)
    gaining.add_argument("--rows", type=int, default=2000)
    gaining.add_argument("--length", type=int, default=48)
    gaining.add_argument("--epochs", type=float, default=4)
    gaining.add_argument("--seeds", type=int, default=3)
    gaining.add_argument("--rates", type=float, nargs="+", default=RATES)
    gaining.add_argument("--threads", type=int, default=1)
    gaining.add_argument("--out", type=Path, default=None, help="keeps what is done, as JSON")
    gaining.set_defaults(run=gain)
    given = parser.parse_args()
    given.run(given)


def learn(given: argparse.Namespace) -> None:
    from edgetran_host.job.units import parse
    from edgetran_host.pretraining.designs import design_of
    from edgetran_host.pretraining.drawing import draw
    from edgetran_host.pretraining.request import Request
    from edgetran_host.pretraining.running import pretrain

    request = Request(
        architecture=design_of(given.design),
        sources=tuple(given.text),
        tokens=given.tokens,
        seconds=parse("time", given.period) if given.period else 0.0,
        vocabulary=given.vocabulary,
        positions=given.positions,
        sequence_length=given.sequence_length,
        batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        dropout=given.dropout,
        device=given.device,
        compiled=given.compiled,
    )
    result = pretrain(request, given.folder, threads=given.threads, on_progress=_Lines())
    draw(given.folder)
    print(json.dumps(result))


class _Lines:
    """A line every ten seconds."""

    def __init__(self) -> None:
        self._told_s = 0.0

    def __call__(self, event: Progress) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s > 10:
            self._told_s = now_s
            print(
                f"{event.stage}: {event.done:.0f} of {event.total:.0f} {event.detail}", flush=True
            )


def gain(given: argparse.Namespace) -> None:
    from edgetran_host.tasks import load_task

    kept = json.loads(given.out.read_text()) if given.out and given.out.exists() else {}
    for data in given.data:
        task = load_task(data, limit=given.rows)
        for folder in given.folders:
            for start in ("pre-trained", "random"):
                for rate in given.rates:
                    for seed in range(given.seeds):
                        key = f"{task.name} {folder.name} {start} {rate:g} {seed}"
                        if key not in kept:
                            kept[key] = _fine_tuned(given, task, folder, start, rate, seed)
                            if given.out:
                                given.out.write_text(json.dumps(kept, indent=1))
                _show(kept, f"{task.name} {folder.name} {start}", given.rates, given.seeds)


def _show(kept: dict[str, dict[str, float]], key: str, rates: list[float], seeds: int) -> None:
    def mean(rate: float, kind: str) -> float:
        return statistics.fmean(kept[f"{key} {rate:g} {i}"][kind] for i in range(seeds))

    best = max(rates, key=lambda rate: mean(rate, "valid"))
    scores = [kept[f"{key} {best:g} {i}"]["dev"] for i in range(seeds)]
    every = ", ".join(f"{rate:g}: {mean(rate, 'dev'):.1f}" for rate in rates)
    print(
        f"{key}: {statistics.fmean(scores):.1f} ± {statistics.stdev(scores):.1f} "
        f"at rate {best:g}  (dev by rate {every})",
        flush=True,
    )


def _fine_tuned(given, task, folder: Path, start: str, rate: float, seed: int):  # type: ignore[no-untyped-def]
    from edgetran_host.models.seeds import load_seed, seed_model
    from edgetran_host.models.text_model import TextModel
    from edgetran_host.tasks import encode, score
    from edgetran_host.training import Recipe, fine_tune, predict

    own = load_seed(str(folder))
    length = min(given.length, own.config.sequence_length)
    model = seed_model(own, max(1, len(task.labels)), length)
    if start == "random":
        torch.manual_seed(seed)
        model = TextModel(model.config).eval()
    cut = round(len(task.train) * (1 - VALID_SHARE))
    rows = encode(own.tokenizer_json, task.train[:cut], length, task)
    recipe = Recipe(given.epochs, 32, rate, warmup_fraction=0.1, seed=seed)
    with tempfile.TemporaryDirectory() as place:
        fine_tune(model, rows, task, recipe, checkpoint=Path(place), threads=given.threads)
    found = {}
    for name, part in (("valid", task.train[cut:]), ("dev", task.dev)):
        outputs = predict(model, encode(own.tokenizer_json, part, length, task), given.threads)
        told = dataclasses.replace(task, dev=tuple(part))
        found[name] = 100 * score(told, outputs).value
    return found


if __name__ == "__main__":
    main()
