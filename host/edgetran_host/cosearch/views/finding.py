"""The searches of a folder, each with its request and how far it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.searching import REQUEST
from edgetran_host.cosearch.views.searched import is_search, read_kept, read_search


def find_searches(folder: Path) -> list[dict[str, Any]]:
    """Below `folder`, oldest first. What cannot be read, or does not answer, is told as its
    state."""
    return [_found(file.parent) for file in _requests(folder)]


def find_search(name: str | None, folder: Path) -> Path:
    """By path, or by name below `folder`; None: the newest there. Raises UsageError."""
    if name is not None:
        return Path(name) if is_search(Path(name)) else folder / name
    found = _requests(folder)
    if not found:
        raise UsageError(f"no search in {folder}", hint="start with `edgetran search`")
    return found[-1].parent


def _requests(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/{REQUEST}"), key=lambda file: file.stat().st_mtime)


def _found(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"name": path.name, "path": str(path), "kind": "search"}
    try:
        found["request"] = read_kept(path)["request"]
        searched = read_search(path)
    except UsageError as error:
        return {**found, "finished": False, "state": str(error)}
    best = searched.ranked[0].number if searched.ranked else None
    ended = searched.result is not None
    state = "finished" if ended else "under way"
    return {
        **found,
        "finished": ended,
        "evaluations": len(searched.tried),
        "kept": len(searched.ranked),
        "best": best,
        "state": f"{state}, {len(searched.ranked)} of {len(searched.tried)} keep limits",
    }
