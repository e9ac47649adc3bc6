"""A node in words: its figures, or what its edit changed; and the tree as a part of a page.

Nodes are as `Node.to_json` gives them.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
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


def figures(node: Mapping[str, Any]) -> list[str]:
    cost = node["cost"]
    mark = "~" if cost["modelled"] else ""
    found = [f"{100 * node['score']:.2f} %", f"{mark}{1e3 * cost['latency_s']:.2f} ms"]
    if cost["energy_j"] is not None:
        found.append(f"{mark}{1e3 * cost['energy_j']:.1f} mJ")
    return [*found, f"{cost['size_bytes'] / 1e6:.2f} MB"]


def changes(node: Mapping[str, Any], parent: Mapping[str, Any]) -> list[str]:
    """Against its parent; and why it was not trained, if so."""
    found = []
    if node["score"] is not None:
        found.append(f"{100 * (node['score'] - parent['score']):+.2f} points")
    for name, what in COSTS:
        now, before = node["cost"][name], parent["cost"][name]
        if now is not None and before is not None:
            found.append(f"{what} {100 * (now / before - 1):+.1f} %")
    return [*found, node["state"]] if node["state"] in (OVER, DIVERGED) else found


def tree_page(refinement: Mapping[str, Any]) -> str:
    """Nested lists; the best node in bold, what was not trained on in grey."""
    nodes = {node["number"]: node for node in refinement["nodes"]}
    (root,) = [node for node in nodes.values() if node["parent"] is None]
    note = html.escape(compared(refinement))
    note = f'<p class="note">{note}</p>' if note else ""
    return f'{note}<ul class="tree">{_branch(root, nodes, refinement["best"])}</ul>'


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
