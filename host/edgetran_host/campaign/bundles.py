"""Bundles of designs nobody trained: what one costs does not depend on its weights' values."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from edgetran_protos.bundle import Bundle

from edgetran_host.campaign.cells import short_name
from edgetran_host.space.architecture import Architecture

VOCABULARY = 1000  # a lookup costs the same in any; a small table is soon sent
SEED = 0


class Bundles:
    """Made when the first board needs one, kept for the others and for a restart."""

    def __init__(self, folder: Path, sequence_length: int) -> None:
        self._folder = folder
        self._length = sequence_length
        self._lock = threading.Lock()  # one at a time: exporting takes the whole machine

    def of(self, design: Architecture) -> Bundle:
        """Raises ExportError."""
        path = self._folder / f"{short_name(design)}.tar"
        with self._lock:
            return Bundle.open(path) if path.exists() else self._make(design, path)

    def _make(self, design: Architecture, path: Path) -> Bundle:
        from edgetran_host.measuring.bare_graph import bundle_of_graph

        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".export-") as scratch:
            graph = Path(scratch) / f"{short_name(design)}.onnx"
            export_untrained(design, self._length, graph)
            made = Path(scratch) / path.name
            bundle_of_graph(graph, made, self._length, design)
            made.replace(path)
        return Bundle.open(path)


def export_untrained(design: Architecture, sequence_length: int, path: Path) -> None:
    """Raises ExportError."""
    import torch

    from edgetran_host.export.graph import export_graph
    from edgetran_host.models.config import ModelConfig
    from edgetran_host.models.text_model import TextModel

    torch.manual_seed(SEED)
    config = ModelConfig(
        architecture=design,
        vocab_size=VOCABULARY,
        positions="absolute",
        max_positions=sequence_length,
        type_vocab_size=2,
        pad_id=0,
        layer_norm_eps=1e-12,
        dropout=0.0,
        pooling="mean",  # as a seed is deployed; a cls pooler spares the last layer
        outputs=2,
        sequence_length=sequence_length,
    )
    export_graph(TextModel(config), path)
