"""All nodes and rounds of one refinement, in one file that appears whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

from edgetran_host.job.run_directory import read_json, write_atomically
from edgetran_host.refine.node import Node, Round

FILE = "tree.json"


class RefinementTree:
    """Nodes of a round that is under way are kept too, so that none is paid for twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: dict[int, Node] = {}
        self.rounds: list[Round] = []
        if (folder / FILE).exists():
            raw = read_json(folder / FILE)
            self.nodes = {one["number"]: Node.from_json(one) for one in raw["nodes"]}
            self.rounds = [Round.from_json(one) for one in raw["rounds"]]

    def node_folder(self, number: int) -> Path:
        return self.folder / f"node-{number}"

    def put(self, node: Node) -> Node:
        """New, or in place of the one that has its number."""
        self.nodes[node.number] = node
        self._write()
        return node

    def close(self, one: Round) -> None:
        self.rounds.append(one)
        self._write()

    def under_way(self) -> list[Node]:
        """Children of the round that is not closed yet."""
        closed = {child for one in self.rounds for child in one.children}
        return [
            node
            for node in self.nodes.values()
            if node.parent is not None and node.number not in closed
        ]

    def _write(self) -> None:
        found = {
            "nodes": [node.to_json() for node in self.nodes.values()],
            "rounds": [one.to_json() for one in self.rounds],
        }
        write_atomically(self.folder / FILE, json.dumps(found).encode())
