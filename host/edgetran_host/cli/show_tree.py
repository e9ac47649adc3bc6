"""A refinement as a tree: what each edit did to score, latency, energy and size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from edgetran_host.refine.node import DIVERGED, OVER, PROBED, TRAINED

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
    console.print(Text("refinement: change from a node's parent", style="bold"))
    for node in roots:
        console.print(drawn[node["number"]])


def _label(node: Mapping[str, Any], parent: Mapping[str, Any] | None, best: int) -> Text:
    text = Text(f"{node['number']} {node['what']}", style=STYLES[node["state"]])
    parts = _figures(node) if parent is None else _changes(node, parent)
    if node["state"] in (OVER, DIVERGED):
        parts.append(node["state"])
    text.append(f"  {', '.join(parts)}", style="dim")
    if node["number"] == best:
        text.append("  best", style="bold green")
    return text


def _figures(node: Mapping[str, Any]) -> list[str]:
    cost = node["cost"]
    found = [f"{100 * node['score']:.2f}", f"{1e3 * cost['latency_s']:.2f} ms"]
    if cost["energy_j"] is not None:
        found.append(f"{1e3 * cost['energy_j']:.1f} mJ")
    found.append(f"{cost['size_bytes'] / 1e6:.2f} MB")
    return found


def _changes(node: Mapping[str, Any], parent: Mapping[str, Any]) -> list[str]:
    found = []
    if node["score"] is not None:
        found.append(f"{100 * (node['score'] - parent['score']):+.2f} points")
    for name, what in (("latency_s", "latency"), ("energy_j", "energy"), ("size_bytes", "size")):
        now, before = node["cost"][name], parent["cost"][name]
        if now is not None and before is not None:
            found.append(f"{what} {100 * math.expm1(math.log(now / before)):+.1f} %")
    return found
