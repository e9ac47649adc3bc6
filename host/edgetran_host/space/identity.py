"""Names for architectures: ours, which tells any two apart, and the published one.

`architecture_id` is the SHA-256 of the canonical JSON of everything that changes what
the network computes. `legacy_md5` is the graph hash that published tables use; it is
an alias only, since different architectures can share it.

The published hash looks at the graph with one vertex for the input, every head, every
add-and-norm, every feed-forward width, and the output. A vertex starts with the label
md5(repr((out_degree, in_degree, operation))); ROUNDS times every label becomes
md5(sorted labels before it | sorted labels after it | its own).
Source: the method's specification, section 3.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from edgetran_protos.bundle import canonical_json

from edgetran_host.space.architecture import Architecture, Layer

HEAD_SEMANTICS = 1  # raised whenever a head kind computes something else than before
ROUNDS = 5


def architecture_id(
    architecture: Architecture,
    *,
    sequence_length: int | None = None,
    lt_scale: bool | None = None,
    embedding_width: int | None = None,
    head_semantics: int = HEAD_SEMANTICS,
) -> str:
    """64 hexadecimal digits. What is None is left open: it does not enter the name."""
    canonical = Architecture.from_dict(architecture.to_dict())  # heads in canonical order
    value: dict[str, object] = {
        "architecture": canonical.to_dict(),
        "head_semantics": head_semantics,
    }
    if sequence_length is not None:
        value["sequence_length"] = sequence_length
    if lt_scale is not None:
        value["lt_scale"] = lt_scale
    if embedding_width is not None:
        value["embedding_width"] = embedding_width
    return hashlib.sha256(canonical_json(value)).hexdigest()


def legacy_md5(architecture: Architecture) -> str:
    """The published 32-digit hash; blind to which layer some of the heads are in."""
    raw = architecture.to_dict()
    labels = _graph(architecture).labels()
    return _md5(_md5(str(sorted(labels))) + str(raw["h"]) + str(raw["f"]))


@dataclass
class _Graph:
    operations: list[str] = field(default_factory=list)
    before: list[list[int]] = field(default_factory=list)  # of each vertex, its sources
    after: list[list[int]] = field(default_factory=list)  # of each vertex, its targets

    def add(self, operation: str, *sources: int) -> int:
        vertex = len(self.operations)
        self.operations.append(operation)
        self.before.append(list(sources))
        self.after.append([])
        for source in sources:
            self.after[source].append(vertex)
        return vertex

    def labels(self) -> list[str]:
        labels = [
            _md5(repr((len(after), len(before), operation)))
            for operation, before, after in zip(self.operations, self.before, self.after)
        ]
        for _ in range(ROUNDS):
            labels = [
                _md5(f"{_joined(labels, before)}|{_joined(labels, after)}|{own}")
                for own, before, after in zip(labels, self.before, self.after)
            ]
        return labels


def _graph(architecture: Architecture) -> _Graph:
    graph = _Graph()
    last = graph.add("input")
    for layer in architecture.layers:
        last = _add_layer(graph, last, layer)
    graph.add("output", last)
    return graph


def _add_layer(graph: _Graph, start: int, layer: Layer) -> int:
    heads = [graph.add(f"{kind}_{layer.head_size}", start) for kind in layer.heads]
    attended = graph.add("add_norm", *heads, start)
    last = attended
    for width in layer.feed_forward:
        last = graph.add(f"f{width}", last)
    return graph.add("add_norm", last, attended)


def _joined(labels: list[str], vertices: list[int]) -> str:
    return "".join(sorted(labels[vertex] for vertex in vertices))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
