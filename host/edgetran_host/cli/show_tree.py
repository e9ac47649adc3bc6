"""A refinement as a tree: what each edit did to score, latency, energy and size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from edgetran_host.refine.node import DIVERGED, OVER, PROBED, TRAINED
from edgetran_host.refine.telling import changes, compared, figures, left_out

STYLES = {TRAINED: "", PROBED: "dim", OVER: "dim", DIVERGED: "red"}


def show_tree(refinement: Mapping[str, Any]) -> None:
    """refinement: nodes as `Node.to_json`, and the number of the best."""
    nodes = {node["number"]: node for node in refinement["nodes"]}
    roots = [node for node in nodes.values() if node["parent"] is None]
    drawn: dict[int, Tree] = {}
    for node in roots:
        drawn[node["number"]] = Tree(_label(node, None, refinement["best"]), guide_style="dim")
    for node in nodes.values():  # in the order they were made: parents first
        if node["parent"] is not None:
            label = _label(node, nodes[node["parent"]], refinement["best"])
            drawn[node["number"]] = drawn[node["parent"]].add(label)
    console = Console()
    heading = Text("refinement: change from a node's parent", style="bold")
    if note := compared(refinement):
        heading.append(f"  ({note})")
    console.print(heading)
    for node in roots:
        console.print(drawn[node["number"]])
    for line in left_out(refinement):
        console.print(Text(line, style="dim"))


def _label(node: Mapping[str, Any], parent: Mapping[str, Any] | None, best: int) -> Text:
    text = Text(f"{node['number']} {node['what']}", style=STYLES[node["state"]])
    parts = figures(node) if parent is None else changes(node, parent)
    text.append(f"  {', '.join(parts)}", style="dim")
    if node["number"] == best:
        text.append("  best", style="bold green")
    return text
