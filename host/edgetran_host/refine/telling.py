"""A node in words: its figures, or what its edit changed; and the tree as a part of a page.

Nodes are as `Node.to_json` gives them.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from edgetran_host.refine.node import DIVERGED, OVER

USUAL = "saliency"
COSTS = (("latency_s", "latency"), ("energy_j", "energy"), ("size_bytes", "size"))


def compared(refinement: Mapping[str, Any]) -> str:
    """What sets it apart from the usual one; empty: nothing does."""
    found = []
    if refinement.get("without"):
        found.append(f"without {', '.join(refinement['without'])}")
    if refinement.get("importance", USUAL) != USUAL:
        found.append(f"parts chosen by {refinement['importance']}")
    return "; ".join(found)


def left_out(refinement: Mapping[str, Any]) -> list[str]:
    """What could not be exported, of which node, and why; a reason once."""
    found: dict[str, str] = {}
    for one in refinement.get("rounds", []):
        for why in one.get("left_out", []):
            found.setdefault(why, f"not tried, of node {one['parent']}: {why}")
    return list(found.values())


def figures(node: Mapping[str, Any]) -> list[str]:
    cost = node["cost"]
    mark = "~" if cost["modelled"] else ""
    found = [f"{100 * node['score']:.2f} %", f"{mark}{1e3 * cost['latency_s']:.2f} ms"]
    if cost["energy_j"] is not None:
        found.append(f"{mark}{1e3 * cost['energy_j']:.1f} mJ")
    found.append(f"{cost['size_bytes'] / 1e6:.2f} MB")
    found += _loss(node)
    if "pieces" in node:  # refinements of before have none
        found += [f"{node['runtime']} {node['precision']}", f"{node['pieces']} pieces"]
    return found


def changes(node: Mapping[str, Any], parent: Mapping[str, Any]) -> list[str]:
    """Against its parent; and why it was not trained, if so."""
    found = []
    if node["score"] is not None:
        found.append(f"{100 * (node['score'] - parent['score']):+.2f} points")
    found += _loss(node)
    for name, what in COSTS:
        now, before = node["cost"][name], parent["cost"][name]
        if now is not None and before is not None:
            found.append(f"{what} {100 * (now / before - 1):+.1f} %")
    if node.get("pieces") != parent.get("pieces"):
        longer = node["tokens_per_row"] / parent["tokens_per_row"] - 1
        found.append(f"tokens a row {100 * longer:+.1f} %")
    return [*found, node["state"]] if node["state"] in (OVER, DIVERGED) else found


def _loss(node: Mapping[str, Any]) -> list[str]:
    """Of the served graph: one that is above the root's is never chosen."""
    found = node.get("served_loss")
    return [] if found is None else [f"loss {found:.4f}"]


def tree_page(refinement: Mapping[str, Any]) -> str:
    """Nested lists; the best node in bold, what was not trained on in grey."""
    nodes = {node["number"]: node for node in refinement["nodes"]}
    (root,) = [node for node in nodes.values() if node["parent"] is None]
    above = [text] if (text := compared(refinement)) else []
    tree = f'<ul class="tree">{_branch(root, nodes, refinement["best"])}</ul>'
    return f"{_notes(above)}{tree}{_notes(left_out(refinement))}"


def _notes(lines: Iterable[str]) -> str:
    return "".join(f'<p class="note">{html.escape(line)}</p>' for line in lines)


def _branch(node: Mapping[str, Any], nodes: Mapping[int, Mapping[str, Any]], best: int) -> str:
    parent = nodes.get(node["parent"]) if node["parent"] is not None else None
    parts = figures(node) if parent is None else changes(node, parent)
    what = html.escape(f"{node['number']} {node['what']}")
    what = f"<b>{what} (best)</b>" if node["number"] == best else what
    style = "" if node["score"] is not None else ' class="left"'
    below = [one for one in nodes.values() if one["parent"] == node["number"]]
    inner = "".join(_branch(one, nodes, best) for one in below)
    inner = f"<ul>{inner}</ul>" if inner else ""
    return f"<li{style}>{what} <small>{html.escape(', '.join(parts))}</small>{inner}</li>"
