"""A daemon's model behind MLPerf's LoadGen: it times each query, and so do we.

LoadGen (mlcommons-loadgen) issues queries, takes its own times and works out percentiles by
its own rule. The same queries are timed here around the same call, so that two programs that
share no code tell the same story, or do not.
"""

from __future__ import annotations

import array
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlperf_loadgen as loadgen
import numpy as np

SAMPLES = 64  # in LoadGen's library; the row is the same
DETAIL, SUMMARY = "mlperf_log_detail.txt", "mlperf_log_summary.txt"
FIELD = re.compile(r'"key": "([^"]+)", "value": ("[^"]*"|[^,]+)')


@dataclass(frozen=True)
class Told:
    """What LoadGen says, and the seconds of each query as they were taken here."""

    fields: Mapping[str, str]
    own_s: np.ndarray[Any, np.dtype[np.float64]]

    def seconds(self, name: str) -> float:
        """Of a field in nanoseconds."""
        return float(self.fields[name]) / 1e9

    def percentile_s(self, percent: float) -> float:
        return self.seconds(f"result_{percent:.2f}_percentile_latency_ns")


def single_stream(ask: Callable[[], object], queries: int, folder: Path) -> Told:
    """One query after the other."""
    return _run(ask, loadgen.TestScenario.SingleStream, queries, folder)


def offline(ask: Callable[[], object], queries: int, folder: Path) -> Told:
    """All queries at once; they are answered one by one."""
    return _run(ask, loadgen.TestScenario.Offline, queries, folder)


def _run(ask: Callable[[], object], scenario: Any, queries: int, folder: Path) -> Told:
    own_s: list[float] = []
    nothing = array.array("B", b"\0" * 8)
    place, size = nothing.buffer_info()

    def answer(samples: list[Any]) -> None:
        for sample in samples:
            begun = time.perf_counter()
            ask()
            own_s.append(time.perf_counter() - begun)
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, place, size)])

    def issue(samples: list[Any]) -> None:
        if len(samples) == 1:
            answer(samples)
        else:  # LoadGen wants its thread back
            threading.Thread(target=answer, args=(list(samples),)).start()

    settings = loadgen.TestSettings()
    settings.scenario = scenario
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_query_count = queries if scenario == loadgen.TestScenario.SingleStream else 1
    settings.max_query_count = settings.min_query_count
    # Of an Offline run LoadGen works out the count: expected rate times duration, and a tenth.
    settings.min_duration_ms = 1 if scenario == loadgen.TestScenario.Offline else 0
    settings.offline_expected_qps = queries * 1000
    logs = loadgen.LogSettings()
    folder.mkdir(parents=True, exist_ok=True)
    logs.log_output.outdir = str(folder)
    logs.log_output.copy_summary_to_stdout = False
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(SAMPLES, SAMPLES, lambda _: None, lambda _: None)
    try:
        loadgen.StartTestWithLogSettings(system, library, settings, logs)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
    text = (folder / DETAIL).read_text()
    fields = {name: value.strip('"') for name, value in FIELD.findall(text)}
    return Told(fields, np.array(own_s))
