"""KServe's own Python client, unchanged; its environment is large, so the test is slow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

CHECKS = ["health", "infer_request", "infer_outputs", "text", "errors", "repository"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def found(
    environment: Callable[[str], Path],
    run_checks: Callable[..., dict[str, str]],
    address: str,
    known: Path,
) -> dict[str, str]:
    return run_checks(environment("kserve"), "kserve_client.py", address, known)


@pytest.mark.parametrize("check", CHECKS)
def test_kserve(found: dict[str, str], check: str) -> None:
    assert found[check] == "", found[check]


def test_no_check_is_forgotten(found: dict[str, str]) -> None:
    assert list(found) == CHECKS
