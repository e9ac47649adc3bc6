"""tritonclient, unchanged and in a process of its own, does everything it can do with us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

CHECKS = [
    "health",
    "metadata",
    "config",
    "infer_raw",
    "infer_typed",
    "classes",
    "infer_async",
    "infer_asyncio",
    "stream",
    "stream_errors",
    "stream_cancelled",
    "stream_asyncio",
    "text",
    "errors",
    "large",
    "concurrent",
    "shared_memory",
    "shared_strings",
    "cuda_shared_memory",
    "repository",
    "statistics",
]


@pytest.fixture(scope="module")
def found(
    triton_python: Path, run_checks: Callable[..., dict[str, str]], address: str, known: Path
) -> dict[str, str]:
    return run_checks(triton_python, "triton_client.py", address, known)


@pytest.mark.parametrize("check", CHECKS)
def test_tritonclient(found: dict[str, str], check: str) -> None:
    assert found[check] == "", found[check]


def test_no_check_is_forgotten(found: dict[str, str]) -> None:
    assert list(found) == CHECKS
