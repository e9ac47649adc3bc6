"""What a deployment does to the requests of the model that it replaces.

Closed loop: each client sends its next request when the last is answered. Windows without and
with deployments alternate; their p99 are compared block by block, and every request must be
answered. The new bundle differs in its weights only.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import threading
import time
from pathlib import Path

import edgetran
import numpy as np
from bench_peers import daemon
from bench_serving import SHAPES, model
from edgetran_protos.bundle import Bundle

GOAL = 1.2
BLOCKS = 8
CLIENTS = 2
SWAPS = 3  # in a window
CALM_S = 6.0
TEXTS = ["turn the light in the kitchen on"]


def main() -> None:
    from side_by_side import options

    given = options(__doc__).parse_args()
    for name, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            bundles = []
            for at in range(2):
                place = folder / str(at)
                place.mkdir()
                bundles.append(model(place, *shape)[0])
            watch = ("--watch", "0.5")
            with daemon(folder / "state", bundles[0], *watch) as address:
                report(name, *swapped(address, bundles), as_json=given.json)


def swapped(address: str, bundles: list[Bundle]) -> tuple[list[float], list[float], int, int]:
    """p99 of each calm and each busy window in seconds; requests answered, and lost."""
    times: list[tuple[float, float]] = []  # when it ended, how long it took
    lost: list[str] = []
    stopping = threading.Event()

    def ask() -> None:
        with edgetran.connect(address) as board:
            while not stopping.is_set():
                began = time.perf_counter()
                try:
                    board.predict(TEXTS, model="bench")
                except edgetran.EdgeTranError as exc:
                    lost.append(str(exc))
                    continue
                now = time.perf_counter()
                times.append((now, now - began))

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    windows: list[tuple[float, float, float]] = []
    order = itertools.cycle((bundles[1], bundles[0]))
    with edgetran.connect(address) as board:
        time.sleep(2.0)
        for _ in range(BLOCKS):
            calm = time.perf_counter()
            time.sleep(CALM_S)
            busy = time.perf_counter()
            for _ in range(SWAPS):
                board.deploy(next(order), model="bench")
            windows.append((calm, busy, time.perf_counter()))
    stopping.set()
    for thread in threads:
        thread.join()
    ended, took = np.array(times).T
    calm_s = [p99(took[(ended > calm) & (ended <= busy)]) for calm, busy, _ in windows]
    busy_s = [p99(took[(ended > busy) & (ended <= end)]) for _, busy, end in windows]
    return calm_s, busy_s, len(times), len(lost)


def p99(seconds: np.ndarray) -> float:
    return float(np.quantile(seconds, 0.99))


def report(
    name: str, calm_s: list[float], busy_s: list[float], answered: int, lost: int, *, as_json: bool
) -> None:
    ratios = np.array(busy_s) / np.array(calm_s)
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    if as_json:
        line = {"model": name, "calm_p99_s": calm_s, "busy_p99_s": busy_s, "ratio": middle}
        print(json.dumps({**line, "answered": answered, "lost": lost}))
        return
    verdict = "met" if middle <= GOAL and not lost else "missed"
    print(
        f"  {name:<15} p99 {1e3 * np.median(calm_s):.2f} ms calm, {1e3 * np.median(busy_s):.2f} ms "
        f"while models are swapped: {middle:.2f} [{low:.2f}, {high:.2f}], goal {GOAL}: {verdict}; "
        f"{answered} answered, {lost} lost",
        flush=True,
    )


if __name__ == "__main__":
    main()
