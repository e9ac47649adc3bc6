"""One client of the soak: `python soak_client.py KIND ADDRESS SEED FOLDER`, until SIGTERM.

Each answer is compared with numpy's. In the end one line of JSON says how often it asked,
which errors came how often, and what was wrong.
"""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from edgetran.board import Board
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import EdgeTranError

HOME, SWAPPED = "home", "swapped"  # never changed, and changed all the time
SEEDS = {HOME: (0,), SWAPPED: (1, 2)}
MOST_ROWS = 16
PAUSE_S = 0.02  # after an error: a board that is away is not hammered
TOLERANCE = 1e-4


def load_tiny() -> ModuleType:
    path = Path(__file__).parents[1] / "daemon" / "tiny_bundle.py"
    spec = importlib.util.spec_from_file_location("tiny_bundle", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = load_tiny()


class Wrong(Exception):
    """The board answered, but not what the model says."""


def texts(rng: random.Random) -> list[str]:
    words = [word for word in tiny.WORDS if word[0] != "["]
    count = rng.choice((1, 1, 1, rng.randint(2, MOST_ROWS)))
    return [" ".join(rng.choices(words, k=rng.randint(1, 6))) for _ in range(count)]


def ask_texts(board: Board, rng: random.Random) -> None:
    model, asked = rng.choice((HOME, SWAPPED)), texts(rng)
    labels = [found.label for found in board.predict(asked, model=model)]
    tokens = tiny.encode([[text] for text in asked])
    known = [
        [tiny.LABELS[at] for at in tiny.reference(tokens, seed).argmax(1)] for seed in SEEDS[model]
    ]
    if labels not in known:
        raise Wrong(f"{model} says {labels} of {asked}, not one of {known}")


def ask_tensors(board: Board, rng: random.Random) -> None:
    model = rng.choice((HOME, SWAPPED))
    tokens = tiny.encode([[text] for text in texts(rng)])
    found = board.infer(model, tokens)["logits"]
    known = [tiny.reference(tokens, seed) for seed in SEEDS[model]]
    if not any(np.allclose(found, logits, atol=TOLERANCE) for logits in known):
        raise Wrong(f"{model} gives other logits than numpy for {tokens['input_ids'].tolist()}")


def measure(board: Board, rng: random.Random) -> None:
    record = board.measure([(bundle_of(0), "")], blocks=2, runs=5, min_block_s=0.02, warmup_runs=2)[
        0
    ]
    if record.latency_p50_s is None or not record.latency_p50_s.value > 0:
        raise Wrong(f"a measurement without a time: {record.reasons}")


def change(board: Board, rng: random.Random) -> None:
    what = rng.random()
    if what < 0.6:
        board.deploy(bundle_of(rng.choice(SEEDS[SWAPPED])), model=SWAPPED)
    elif what < 0.8:
        board.rollback(SWAPPED, reason="soak")
    else:
        board.unload(SWAPPED)
        board.load(SWAPPED)


def look(board: Board, rng: random.Random) -> None:
    board.describe()
    board.deployments(history=True)
    next(iter(board.telemetry(period_s=0.1)))


KINDS: dict[str, Callable[[Board, random.Random], None]] = {
    "texts": ask_texts,
    "tensors": ask_tensors,
    "measure": measure,
    "change": change,
    "look": look,
}


def bundle_of(seed: int) -> Bundle:
    return Bundle.open(Path(sys.argv[4]) / f"{seed}.tar")


def main() -> None:
    kind, address, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    rng, done, errors, wrong = random.Random(seed), 0, Counter[str](), ""
    while not stopping and not wrong:
        with Board(address) as board:
            for _ in range(rng.randint(1, 200)):  # and then over a connection of its own
                if stopping:
                    break
                try:
                    KINDS[kind](board, rng)
                    done += 1
                except EdgeTranError as exc:
                    errors[type(exc).__name__] += 1
                    time.sleep(PAUSE_S)
                except Wrong as exc:
                    wrong = str(exc)
                    break
    print(json.dumps({"kind": kind, "done": done, "errors": errors, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main()
