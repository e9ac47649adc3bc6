"""What the page of a run or a record says: the bodies of the project's reports, drawn anew.

Called by name in a process of its own, since drawing holds a core for seconds. What cannot be
read is said on the page.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgetran_host.dashboard.shelf import FLEET, JOB, RECORD, REFINEMENT, SEARCH, UNREADABLE
from edgetran_host.job.run_directory import RunDirectory

OUTLOOK = "outlook"  # of a search: what its models foretell


def body(kind: str, path: str) -> str:
    """One of BODIES; `path` is the folder, or the file of a fleet."""
    try:
        return BODIES[kind](Path(path))
    except UNREADABLE as error:
        hint = getattr(error, "hint", "")
        told = html.escape(f"{type(error).__name__}: {error}")
        return f'<p class="trouble">This cannot be read: {told}</p><p>{html.escape(hint)}</p>'


def _job(path: Path) -> str:
    from edgetran_host.job.report import report_body

    run = RunDirectory(path)
    result = run.result()
    return _under_way(run) if result is None else report_body(run, result)


def _under_way(run: RunDirectory) -> str:
    """The stages that ended, and what the search has paid for so far."""
    from edgetran_host.search.study import read_trials

    stages = sorted((run.path / "stages").glob("*.json"), key=lambda file: file.stat().st_mtime)
    done = "".join(f"<li>{html.escape(file.stem)}</li>" for file in stages)
    trials = read_trials(run.path / "search" / "study.db")
    head = ("design", "score, %", "latency, ms", "size, MB", "keeps the limits")
    rows = [_row("th", head)]
    for trial in trials:
        mark = "~" if trial.cost.modelled else ""
        rows.append(
            _row(
                "td",
                (
                    trial.design.label(),
                    "" if trial.score is None else f"{100 * trial.score:.2f}",
                    f"{mark}{1e3 * trial.cost.latency_s:.2f}",
                    f"{trial.cost.size_bytes / 1e6:.2f}",
                    "yes" if trial.feasible else "no",
                ),
            )
        )
    request = html.escape(json.dumps(run.config().to_json(), indent=2))
    return (
        f"<h1>{html.escape(run.path.name)}</h1><p>This run has not ended: the same command goes on "
        f"with it.</p><h2>Stages that ended</h2><ol>{done}</ol><h2>Designs tried so far</h2>"
        f"<table>{''.join(rows)}</table><h2>Request</h2><pre>{request}</pre>"
    )


def _refinement(path: Path) -> str:
    from edgetran_host.refine.cycle import best_node
    from edgetran_host.refine.telling import tree_page
    from edgetran_host.refine.tree import RefinementTree

    result = RunDirectory(path).result()
    if result is not None:
        from edgetran_host.job.report import report_body

        return report_body(RunDirectory(path), result)
    nodes = RefinementTree(path / "tree").nodes
    told = "<p>It has no nodes yet.</p>"
    if nodes:
        told = tree_page(
            {
                "nodes": [node.to_json() for node in nodes.values()],
                "best": best_node(nodes.values()).number,
            }
        )
    return (
        f"<h1>{html.escape(path.parent.name)}, refined</h1><p>This refinement has not ended.</p>"
        f"<h2>Each edit against its parent</h2>{told}"
    )


def _search(path: Path) -> str:
    from edgetran_host.cosearch.views.page import search_body
    from edgetran_host.cosearch.views.searched import read_search

    return "".join(search_body(read_search(path), outlook=False))


def _outlook(path: Path) -> str:
    from edgetran_host.cosearch.views.page import outlook_body
    from edgetran_host.cosearch.views.searched import read_search

    searched = read_search(path)
    return "".join(outlook_body(searched)) if searched.tried else ""


def _record(path: Path) -> str:
    from edgetran_host.measuring.drawing import pictures
    from edgetran_host.measuring.page import record_body
    from edgetran_host.measuring.record_directory import read_record

    record = read_record(path)
    return record_body(record, pictures(record))


def _fleet(path: Path) -> str:
    from edgetran_host.dashboard.fleet_body import fleet_body

    return fleet_body(path)


BODIES: dict[str, Callable[[Path], str]] = {
    JOB: _job,
    REFINEMENT: _refinement,
    SEARCH: _search,
    OUTLOOK: _outlook,
    RECORD: _record,
    FLEET: _fleet,
}


def _row(tag: str, cells: Any) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
