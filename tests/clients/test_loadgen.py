"""MLPerf LoadGen against the daemon: its percentiles are ours, by a program we did not write."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import edgetran
import numpy as np
import pytest
from edgetran_protos.measuring.percentiles import bound

pytestmark = pytest.mark.slow
QUERIES = 800  # enough for the 99th percentile by LoadGen's rule
DISCARDED = re.compile(r"Would discard (\d+) highest")


@pytest.fixture(scope="module")
def loadgen(root: Path) -> ModuleType:
    pytest.importorskip("mlperf_loadgen", reason="needs mlcommons-loadgen")
    spec = importlib.util.spec_from_file_location(
        "loadgen_client", root / "benchmarks" / "loadgen_client.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["loadgen_client"] = module
    spec.loader.exec_module(module)
    return module


def test_percentiles_of_a_stream_of_requests_agree(
    address: str, loadgen: ModuleType, tmp_path: Path
) -> None:
    """LoadGen's times enclose ours, query by query, so its ordered times do, too."""
    with edgetran.connect(address=address) as board:
        told = loadgen.single_stream(lambda: board.predict(["heat on"], "home"), QUERIES, tmp_path)
    assert told.fields["result_validity"] == "VALID"
    assert len(told.own_s) == QUERIES
    ordered = np.sort(told.own_s)
    for percent in (50, 90, 95, 99):
        ours_s = ordered[int(QUERIES * percent / 100)]  # LoadGen takes no mean of neighbours
        assert told.percentile_s(percent) >= ours_s
    assert told.seconds("result_max_latency_ns") < 60
    found = DISCARDED.search(told.fields["early_stopping_result"])
    assert found is not None
    at = QUERIES - int(found.group(1)) - 1
    assert bound(told.own_s, 90) == ordered[at], "as many are discarded as LoadGen says"
    ours_s = bound(told.own_s, 99)
    assert ours_s is not None
    assert told.seconds("early_stopping_latency_ms") >= ours_s


@pytest.mark.parametrize("queries", [63, 64, 65, 130, 700])
def test_as_many_are_discarded(loadgen: ModuleType, tmp_path: Path, queries: int) -> None:
    """The rule alone, at its edges: whether there is a bound, and which query it is."""
    told = loadgen.single_stream(lambda: None, queries, tmp_path)
    samples = np.arange(queries, dtype=np.float64)
    ours = bound(samples, 90)
    found = DISCARDED.search(told.fields["early_stopping_result"])
    assert (ours is None) == (found is None)
    if found is not None:
        assert ours == queries - 1 - int(found.group(1))


def test_all_queries_at_once_are_answered(
    address: str, loadgen: ModuleType, tmp_path: Path
) -> None:
    with edgetran.connect(address=address) as board:
        told = loadgen.offline(lambda: board.predict(["heat on"], "home"), 200, tmp_path)
    assert told.fields["result_validity"] == "VALID"
    rate = float(told.fields["result_samples_per_second"])
    assert 0 < rate <= len(told.own_s) / told.own_s.sum()
