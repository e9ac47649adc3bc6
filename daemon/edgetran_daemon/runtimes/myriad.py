"""Intel's Neural Compute Stick 2: an ONNX graph through OpenVINO 2021.4's MYRIAD plugin.

That release is the last whose packages hold the plugin, for Python 3.6 to 3.9; later ones
have another interface. The plugin wants fixed shapes, so a larger batch is run row by row,
and computes in half precision whatever the graph says. Calls as in the release's reference of
`openvino.inference_engine` (docs.openvino.ai/2021.4/api/ie_python_api/annotated.html).
"""

import importlib
import importlib.util
import os
from typing import Any, Sequence, Tuple

import numpy as np

from edgetran_daemon.runtimes.base import (
    Runtime,
    RuntimeFailure,
    Tensors,
    TensorSpec,
    check_choices,
)
from edgetran_daemon.runtimes.onnx_file import read_onnx

MODULE = "openvino.inference_engine"
DEVICE = "MYRIAD"
PRECISIONS = {"int64": "I32", "int32": "I32", "float32": "FP32"}  # that the plugin takes
NARROWED = {"I32": np.int32, "FP32": np.float32}


class MyriadRuntime(Runtime):
    name = "myriad"
    has_device = True

    def __init__(self, path: str, threads: int) -> None:
        library = importlib.import_module(MODULE)
        try:
            with open(path, "rb") as file:
                data = file.read()
            graph = read_onnx(data)
            core = library.IECore()
            network = core.read_network(model=data, weights=b"", init_from_buffer=True)
            network.reshape({spec.name: (1, *_fixed(spec)) for spec in graph.inputs})
            for spec in graph.inputs:
                network.input_info[spec.name].precision = PRECISIONS[spec.dtype]
            for spec in graph.outputs:
                network.outputs[spec.name].precision = PRECISIONS[spec.dtype]
            self._executable = core.load_network(network, DEVICE)
        except Exception as exc:  # its errors share no base class
            raise RuntimeFailure(f"myriad cannot load the graph: {exc}") from exc
        self._inputs, self._outputs = graph.inputs, graph.outputs
        self._table_rows = graph.table_rows

    @staticmethod
    def unavailable() -> str:
        found = importlib.util.find_spec("openvino")
        if found is None:
            return "openvino 2021.4.2 is not installed"
        # To look for the module itself would import all of a later OpenVINO.
        places = [
            os.path.join(p, "inference_engine") for p in found.submodule_search_locations or ()
        ]
        if not any(map(os.path.isdir, places)):
            return "this openvino has no MYRIAD plugin: the last with one is 2021.4.2"
        return ""

    @staticmethod
    def no_device() -> str:
        core = importlib.import_module(MODULE).IECore()
        try:
            core.get_versions(DEVICE)
        except Exception as exc:  # its errors share no base class
            return f"openvino's MYRIAD plugin cannot be loaded: {exc}"
        if not any(str(name).startswith(DEVICE) for name in core.available_devices):
            return "no Neural Compute Stick 2 answers: is it plugged in, and may it be used?"
        return ""

    @staticmethod
    def version() -> str:
        return str(importlib.import_module(MODULE).__version__).partition("-")[0]

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return self._inputs

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return self._outputs

    def _run(self, tensors: Tensors) -> Tensors:
        check_choices(tensors, self._table_rows)
        found = [
            self._run_one({name: tensor[at : at + 1] for name, tensor in tensors.items()})
            for at in range(len(next(iter(tensors.values()))))
        ]
        return {s.name: np.concatenate([row[s.name] for row in found]) for s in self._outputs}

    def _run_one(self, tensors: Tensors) -> Tensors:
        given = {
            spec.name: np.ascontiguousarray(tensors[spec.name], NARROWED[PRECISIONS[spec.dtype]])
            for spec in self._inputs
        }
        results: Any = self._executable.infer(given)
        return {spec.name: np.array(results[spec.name]) for spec in self._outputs}  # ours to keep


def _fixed(spec: TensorSpec) -> Tuple[int, ...]:
    """The dimensions behind the batch."""
    if not spec.shape or spec.shape[0] is not None or None in spec.shape[1:]:
        raise RuntimeFailure(f"{spec.name} must have a free batch and fixed dimensions behind it")
    return tuple(size for size in spec.shape[1:] if size is not None)
