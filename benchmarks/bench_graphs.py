"""Our exported graphs beside those a user gets without us, in every runtime, on one machine.

Ways: ours in ONNX Runtime, OpenVINO and, where EDGETRAN_LITERT_PYTHON names a converter,
LiteRT, in fp32 and int8; the same encoder from `transformers` through torch.onnx (the
standard route) in ONNX Runtime, with and without its transformer optimiser, and OpenVINO,
in fp32 and int8 by their tools' defaults. Each time is also given as a share of the
machine's peak: the graph's FLOPs over the FLOP/s of a large float32 matrix product.
At the end the goals are printed with what was found: met or missed only where the whole
95 % interval lies on one side.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from edgetran_host.export import count_work
from edgetran_host.export.running import Run
from edgetran_host.job.running import free_cores
from graph_ways import (
    OPSET,
    PLAIN_SESSIONS,
    REFERENCE,
    SHAPES,
    SOURCE,
    TWIN,
    Graphs,
    Way,
    random_rows,
    tensors,
    ways_of,
)
from onnx import helper, numpy_helper
from side_by_side import Ratio, alternate, options, ratio

SGEMM_SIZE, SGEMM_RUNS = 2048, 8
WAY_S = 2.5  # timed for each way of a case
FP32_LIMIT, INT8_LIMIT, MIXED_LIMIT = 1.03, 1.0, 1.15  # of the best other's, of the predicted
PEAK_SHARE = 0.85
EVERYTHING = {"shapes": list(SHAPES), "lengths": [32, 128], "batches": [1, 8]}
QUICK = {"shapes": ["minilm", "base", "mixed"], "lengths": [128], "batches": [1]}

Seconds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Goal:
    """One aim in one case: a ratio, and what it must not exceed."""

    aim: str
    case: str
    found: Ratio
    limit: float

    @property
    def verdict(self) -> str:
        if self.found.high <= self.limit:
            return "met"
        return "missed" if self.found.low > self.limit else "open"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--full", action="store_true", help="every shape, length and batch")
    for name, kind in (("shapes", str), ("lengths", int), ("batches", int)):
        parser.add_argument(f"--{name}", nargs="+", type=kind)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--graphs", type=Path, help="keep the graphs here for another run")
    parser.add_argument("--build-only", action="store_true", help="make the graphs, time none")
    given = parser.parse_args()
    for name, chosen in (EVERYTHING if given.full else QUICK).items():
        setattr(given, name, getattr(given, name) or chosen)
    given.threads = given.threads or free_cores()
    if not given.json:
        versions = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "openvino"))
        print(f"{given.threads} threads, {versions}")
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory() as scratch:
        for key in given.shapes:
            for length in given.lengths:
                folder = (given.graphs or Path(scratch)) / f"{key}-{length}"
                goals += time_shape(key, length, folder, given)
    for goal in goals:
        show_goal(goal, given.json)


def time_shape(key: str, length: int, folder: Path, given: Namespace) -> list[Goal]:
    """Every batch of one shape and length."""
    shape = SHAPES[key]
    litert = given.full or key != "base"  # its conversion alone takes minutes
    with quiet():
        graphs = Graphs(shape, length, made(folder))
        runs = {str(w): graphs.session(w, given.threads) for w in ways_of(shape, litert=litert)}
        flops = {str(w): count_flops(graphs, w) for w in ways_of(shape, litert=litert)}
        if not shape.homogeneous:
            twin = Graphs(TWIN, length, made(folder / "twin"))
            runs[TWIN.name] = twin.session(SOURCE, given.threads)
            flops[TWIN.name] = count_flops(twin, SOURCE)
    if given.build_only:
        return []
    goals = []
    for batch in given.batches:
        case = f"{shape.name}, L={length}, batch {batch}"
        seconds, peak = measure(runs, length, batch, given)
        ideal_s = {way: count * batch / peak for way, count in flops.items()}
        report(case, seconds, ideal_s, given.json)
        goals += judge(case, seconds, ideal_s)
    return goals


def count_flops(graphs: Graphs, way: Way) -> float:
    """A row of the float graph that `way` was made from."""
    return count_work(graphs.path(SOURCE if way.ours else REFERENCE)).matmul_flops


def measure(
    runs: Mapping[str, object], length: int, batch: int, given: Namespace
) -> tuple[Seconds, float]:
    """way -> (blocks, runs), and the machine's FLOP/s right then: a neighbour's load changes it."""
    feeds = tensors(random_rows(batch, length))
    ways = {way: (lambda run=run: run(feeds)) for way, run in runs.items()}  # type: ignore[misc]
    if batch > 1:  # which runs row by row on a board too, and tells nothing new
        ways = {way: call for way, call in ways.items() if "litert" not in way}
    first = next(iter(ways.values()))
    first()
    started = time.perf_counter()
    first()
    once = time.perf_counter() - started
    count = int(np.clip(WAY_S / given.blocks / once, 1, 50))
    before = sgemm_flops(given.threads)
    seconds = alternate(ways, blocks=given.blocks, runs=count, warmup=1 if once > 0.1 else 3)
    return seconds, max(before, sgemm_flops(given.threads))


def report(case: str, seconds: Seconds, ideal_s: Mapping[str, float], as_json: bool) -> None:
    reference = str(REFERENCE) if str(REFERENCE) in seconds else str(SOURCE)
    lines = []
    for way, found in seconds.items():
        p50 = float(np.median(found))
        share = ratio(found, seconds[reference])
        reached = ideal_s[way] / p50
        lines.append({"way": way, "p50_ms": p50 * 1e3, "ratio": vars(share), "of_peak": reached})
    if as_json:
        print(json.dumps({"benchmark": "graphs", "case": case, "ways": lines}), flush=True)
        return
    print(f"{case}  (ratio to: {reference})")
    for line in lines:
        times = f"p50 {line['p50_ms']:9.3f} ms  x{Ratio(**line['ratio'])}"  # type: ignore[arg-type]
        print(f"  {line['way']:<42} {times}  {line['of_peak']:.0%} of peak", flush=True)


def judge(case: str, seconds: Seconds, ideal_s: Mapping[str, float]) -> list[Goal]:
    def best(ours: bool, precision: str) -> np.ndarray | None:
        """Of all runtimes, by the median."""
        found = [
            times
            for way, times in seconds.items()
            if way.startswith("ours" if ours else "standard") and f" {precision}" in way
        ]
        return min(found, key=lambda times: float(np.median(times)), default=None)

    goals = []
    for precision, limit in (("fp32", FP32_LIMIT), ("int8", INT8_LIMIT)):
        mine, other = best(True, precision), best(False, precision)
        if mine is not None and other is not None:
            aim = f"our best {precision} over the best other's"
            goals.append(Goal(aim, case, ratio(mine, other), limit))
    mine = best(True, "fp32")
    if mine is not None and case.startswith(SHAPES["base"].name):
        ideal = np.full_like(mine, ideal_s[str(SOURCE)])
        aim = f"our best fp32 over its time at the machine's peak ({PEAK_SHARE:.0%} of it)"
        goals.append(Goal(aim, case, ratio(mine, ideal), 1 / PEAK_SHARE))
    if TWIN.name in seconds:
        predicted = seconds[TWIN.name] * ideal_s[str(SOURCE)] / ideal_s[TWIN.name]
        aim = "ONNX Runtime fp32 over what its FLOPs predict from a plain model"
        goals.append(Goal(aim, case, ratio(seconds[str(SOURCE)], predicted), MIXED_LIMIT))
    return goals


def show_goal(goal: Goal, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"benchmark": "graphs", "verdict": goal.verdict, **vars(goal)},
                         default=vars))  # fmt: skip
        return
    print(f"{goal.verdict:<6} {goal.case}: {goal.aim}: {goal.found}, goal {goal.limit:.3f}")


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sgemm_flops(threads: int) -> float:
    """FLOP/s of a large float32 product by the fastest of PyTorch and the runtimes."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, SGEMM_SIZE, SGEMM_SIZE), dtype=np.float32)
    tensors = torch.from_numpy(a), torch.from_numpy(b)
    ways: list[Callable[[], object]] = [lambda: tensors[0] @ tensors[1]]
    ways += [lambda run=run: run({"a": a}) for run in product_sessions(b, threads)]  # type: ignore[misc]
    best = float("inf")
    for way in ways:
        way()
        for _ in range(SGEMM_RUNS):
            started = time.perf_counter()
            way()
            best = min(best, time.perf_counter() - started)
    return 2 * SGEMM_SIZE**3 / best


def product_sessions(b: np.ndarray, threads: int) -> list[Run]:
    """The product of an input with b, by each runtime."""
    a, c = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, b.shape) for n in "ac")
    node, weight = helper.make_node("MatMul", ["a", "b"], ["c"]), numpy_helper.from_array(b, "b")
    graph = helper.make_graph([node], "product", [a], [c], [weight])
    opset = [helper.make_opsetid("", OPSET)]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "product.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
        return [session(path, threads, "c") for session in PLAIN_SESSIONS.values()]


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters speak of optional packages and of progress; the table is what counts."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


if __name__ == "__main__":
    main()
