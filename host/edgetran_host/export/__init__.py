"""From a trained model to graphs a board runs, checked on real rows."""

from edgetran_host.export.compatibility import CELLS
from edgetran_host.export.program import export_program
from edgetran_host.export.running import run_graph, run_onnx
from edgetran_host.export.variants import Exported, Graph, export_variants
from edgetran_host.export.work import GraphWork, count_graph, count_work

__all__ = [
    "CELLS",
    "Exported",
    "Graph",
    "GraphWork",
    "count_graph",
    "count_work",
    "export_program",
    "export_variants",
    "run_graph",
    "run_onnx",
]
