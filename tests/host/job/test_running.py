"""A job asks for what is possible before it makes anything."""

from __future__ import annotations

import pytest
from edgetran.results import BoardInfo, RuntimeInfo
from edgetran_host.export.compatibility import CELLS
from edgetran_host.job.running import RUNTIME, check_runtime
from edgetran_host.search.seeded_space import PRECISIONS
from edgetran_protos.errors import UsageError


def board(*runtimes: RuntimeInfo) -> BoardInfo:
    return BoardInfo("pi", "Pi", "cpu", False, "0", "", 4, 1, 1, "linux", runtimes, ())


def test_a_board_without_the_runtime_of_the_designs_is_refused() -> None:
    check_runtime(board(RuntimeInfo(RUNTIME, "1.32.0", "")))
    for runtimes in ((), (RuntimeInfo(RUNTIME, "", "onnxruntime is not installed"),)):
        with pytest.raises(UsageError, match="cannot run") as caught:
            check_runtime(board(*runtimes))
        assert RUNTIME in caught.value.hint


def test_the_search_proposes_only_pairs_of_the_table() -> None:
    assert {(RUNTIME, precision) for precision in PRECISIONS} <= set(CELLS)
