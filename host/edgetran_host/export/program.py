"""A text model as a `torch.export` program, PyTorch's own graph, for tools that start there.

Inputs and output as in `graph`. Reading such a file unpickles parts of it: open none that
you did not make; boards get none.
"""

from __future__ import annotations

from pathlib import Path

import torch
from edgetran_protos.errors import ExportError

from edgetran_host.export.graph import EXAMPLE_ROWS, INPUTS, MAX_ROWS
from edgetran_host.models.text_model import TextModel


def export_program(model: TextModel, path: Path, rows: int | None = None) -> None:
    """Writes `model` to `path`, by custom a .pt2; rows: a fixed batch, None leaves it free.

    Raises ExportError naming what cannot be expressed.
    """
    length = model.config.sequence_length
    # Three tensors, not one: the exporter takes equal objects for one input.
    example = tuple(torch.ones(rows or EXAMPLE_ROWS, length, dtype=torch.int64) for _ in INPUTS)
    batch = torch.export.Dim("batch", min=1, max=MAX_ROWS)
    shapes = None if rows else tuple({0: batch} for _ in INPUTS)
    merged = model.eval().merged()
    try:
        with torch.no_grad():
            torch.export.save(torch.export.export(merged, example, dynamic_shapes=shapes), path)
    except Exception as exc:  # the exporter's errors share no base class
        first = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise ExportError(f"the model cannot be expressed as a program: {first}") from exc
