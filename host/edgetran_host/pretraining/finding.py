"""The pre-trainings of a folder, each with its request and how far it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.job.run_directory import read_json
from edgetran_host.models.own_seed import PRETRAINING
from edgetran_host.pretraining.curve import read_curve

RESULT = "result.json"


def find_pretrainings(folder: Path) -> list[dict[str, Any]]:
    """Below `folder`, oldest first."""
    requests = sorted(folder.glob(f"*/{PRETRAINING}"), key=lambda file: file.stat().st_mtime)
    return [_found(file.parent) for file in requests]


def pretraining_result(folder: Path) -> dict[str, Any]:
    """Raises UsageError when it is not finished."""
    if not (folder / RESULT).exists():
        raise UsageError(
            f"{folder} is not finished", hint="give the same `edgetran pretrain` again"
        )
    return read_json(folder / RESULT)


def _request(file: Path) -> dict[str, Any]:
    request = read_json(file)
    if "sources" not in request:
        raise UsageError(f"{file} holds no request of `edgetran pretrain`", hint="remove it")
    return request


def _found(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"name": path.name, "path": str(path), "kind": "pre-training"}
    try:
        found["request"] = _request(path / PRETRAINING)
        if (path / RESULT).exists():
            perplexity = pretraining_result(path)["perplexity"]
            return {**found, "finished": True, "state": f"finished, perplexity {perplexity:.1f}"}
    except UsageError as error:
        return {**found, "finished": False, "state": str(error)}
    points = read_curve(path)
    state = f"under way, step {points[-1]['step']}" if points else "begun"
    return {**found, "finished": False, "state": state}
