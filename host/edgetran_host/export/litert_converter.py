"""Run by an interpreter of its own: a program with a batch of one row to a .tflite graph.

    python -I litert_converter.py PROGRAM.pt2 PRECISION TARGET.tflite

It imports nothing of edgetran. The last line on stderr says what went wrong; the exit
status is 3 when the interpreter lacks a package and 1 otherwise.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from pathlib import Path

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "logits"
LACKS_A_PACKAGE = 3


def convert(program: Path, precision: str, target: Path) -> None:
    """precision: "fp32", or "int8" with activations scaled at every inference."""
    import litert_torch
    import torch

    module = torch.export.load(program).module()
    length = module.graph.find_nodes(op="placeholder")[0].meta["val"].shape[1]
    _rewrite_row_products(module)

    class Named(torch.nn.Module):
        """Tensors get their names from the arguments and from a dictionary's keys."""

        def __init__(self) -> None:
            super().__init__()
            self.program = module

        def forward(self, input_ids, attention_mask, token_type_ids):  # type: ignore[no-untyped-def]
            return {OUTPUT: self.program(input_ids, attention_mask, token_type_ids)}

    example = {name: torch.ones(1, length, dtype=torch.int64) for name in INPUTS}
    made = litert_torch.convert(Named(), sample_kwargs=example, enable_x64=True)
    made.export(str(target))
    if precision == "int8":
        _quantise(target)


def _rewrite_row_products(module) -> None:  # type: ignore[no-untyped-def]
    """(1, 1, 1, s) @ (1, 1, s, d) as a weighted sum: the converter drops one of its axes."""
    import torch

    aten = torch.ops.aten
    for node in module.graph.find_nodes(op="call_function", target=aten.matmul.default):
        left, right = node.args
        if tuple(left.meta["val"].shape[:-1]) != (1, 1, 1) or right.meta["val"].dim() != 4:
            continue
        with module.graph.inserting_before(node):
            column = module.graph.call_function(aten.transpose.int, (left, 2, 3))
            weighted = module.graph.call_function(aten.mul.Tensor, (column, right))
            summed = module.graph.call_function(aten.sum.dim_IntList, (weighted, [2], True))
        node.replace_all_uses_with(summed)
        module.graph.erase_node(node)
    module.recompile()


def _quantise(graph: Path) -> None:
    """Products by a weight matrix and the embedding tables.

    Products of two activations stay in float: LiteRT runs none in 8 bits that has the
    constant on its left, as those of transforms have.
    """
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import TFLOperationName

    made = quantizer.Quantizer(str(graph))
    for kind in (TFLOperationName.FULLY_CONNECTED, TFLOperationName.EMBEDDING_LOOKUP):
        made.add_dynamic_config(regex=".*", operation_name=kind, num_bits=8)
    made.quantize().export_model(str(graph), overwrite=True)


def main() -> int:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    program, precision, target = sys.argv[1:]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            convert(Path(program), precision, Path(target))
    except ImportError as exc:
        print(exc, file=sys.stderr)
        return LACKS_A_PACKAGE
    except Exception as exc:  # whatever the converter does, the exporter must hear of it
        print((str(exc).strip().splitlines() or [type(exc).__name__])[0], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
