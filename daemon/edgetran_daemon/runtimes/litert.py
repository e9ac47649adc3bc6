"""LiteRT on the CPU: a .tflite graph with one signature.

Its converter freezes the batch at one row, so a larger batch is run row by row; from
outside the batch is free. Where there is no LiteRT, its predecessor TensorFlow Lite serves.
"""

import importlib
import importlib.util
from typing import Any, List, Mapping, Optional, Sequence

import numpy as np

from edgetran_daemon.runtimes.base import (
    InputRefused,
    Runtime,
    RuntimeFailure,
    Tensors,
    TensorSpec,
    installed_version,
)

LITERT = "ai_edge_litert"
DISTRIBUTIONS = {LITERT: "ai-edge-litert", "tflite_runtime": "tflite-runtime"}  # best first
OUT_OF_TABLE = ("out of bounds", "out of range")  # what its look-ups say of an index


class LiteRtRuntime(Runtime):
    name = "litert"

    def __init__(self, path: str, threads: int) -> None:
        library = importlib.import_module(_package() + ".interpreter")
        try:
            self._interpreter = library.Interpreter(model_path=path, num_threads=threads)
            self._interpreter.allocate_tensors()
            (signature,) = self._interpreter.get_signature_list()
            runner = self._interpreter.get_signature_runner(signature)
            inputs, outputs = runner.get_input_details(), runner.get_output_details()
        except Exception as exc:  # its errors share no base class
            raise RuntimeFailure(f"litert cannot load the graph: {exc}") from exc
        self._by_rows = all(_one_row(detail) for detail in (*inputs.values(), *outputs.values()))
        self._inputs = tuple(self._spec(name, detail) for name, detail in inputs.items())
        self._outputs = tuple(self._spec(name, detail) for name, detail in outputs.items())
        self._input_places = {name: detail["index"] for name, detail in inputs.items()}
        self._output_places = {name: detail["index"] for name, detail in outputs.items()}

    @staticmethod
    def unavailable() -> str:
        return "" if _package() else "neither ai-edge-litert nor tflite-runtime is installed"

    @staticmethod
    def version() -> str:
        package = _package()
        found = installed_version(DISTRIBUTIONS[package], package)
        return found if package == LITERT else f"{DISTRIBUTIONS[package]} {found}".strip()

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return self._inputs

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return self._outputs

    def _spec(self, name: str, detail: Mapping[str, Any]) -> TensorSpec:
        shape: List[Optional[int]] = [int(size) for size in detail["shape"]]
        if self._by_rows:
            shape[0] = None
        return TensorSpec(name, np.dtype(detail["dtype"]).name, tuple(shape))

    def _run(self, tensors: Tensors) -> Tensors:
        if not self._by_rows:
            return self._run_once(tensors)
        rows = [
            self._run_once({name: tensor[at : at + 1] for name, tensor in tensors.items()})
            for at in range(len(next(iter(tensors.values()))))
        ]
        return {name: np.concatenate([row[name] for row in rows]) for name in self._output_places}

    def _run_once(self, tensors: Tensors) -> Tensors:
        for name, place in self._input_places.items():
            self._interpreter.set_tensor(place, tensors[name])
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as exc:
            if any(words in str(exc) for words in OUT_OF_TABLE):
                raise InputRefused(f"litert refuses the inputs: {exc}") from exc
            raise
        return {
            name: self._interpreter.get_tensor(place) for name, place in self._output_places.items()
        }


def _package() -> str:
    """The library's import name; empty when there is none."""
    return next((name for name in DISTRIBUTIONS if importlib.util.find_spec(name)), "")


def _one_row(detail: Mapping[str, Any]) -> bool:
    return len(detail["shape"]) > 0 and int(detail["shape"][0]) == 1
