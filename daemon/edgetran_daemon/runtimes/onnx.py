"""ONNX Runtime on the CPU."""

import importlib.util
from typing import Any, Sequence

from edgetran_daemon.runtimes.base import (
    InputRefused,
    Runtime,
    RuntimeFailure,
    Tensors,
    TensorSpec,
    installed_version,
)

DTYPES = {  # ONNX Runtime's name of a tensor type -> numpy's
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}
# ONNX Runtime's severities "error" and "fatal": its warnings are no news to a user.
QUIET, SILENT = 3, 4
# Add and LayerNormalization as one kernel: five times as long as the two in 1.32, no gain in 1.20.
SLOW_FUSIONS = ["SkipLayerNormFusion"]


class OnnxRuntime(Runtime):
    name = "onnxruntime"

    def __init__(self, path: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        try:
            self._session = onnxruntime.InferenceSession(
                path,
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=SLOW_FUSIONS,
            )
        except Exception as exc:  # its errors share no base class
            raise RuntimeFailure(f"onnxruntime cannot load the graph: {exc}") from exc
        self._run_options = onnxruntime.RunOptions()
        self._run_options.log_severity_level = SILENT  # what fails is raised
        self._invalid = onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument
        self._inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self._outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._names = [spec.name for spec in self._outputs]

    @staticmethod
    def unavailable() -> str:
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed"
        return ""

    @staticmethod
    def version() -> str:
        return installed_version("onnxruntime", "onnxruntime")

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return self._inputs

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return self._outputs

    def _run(self, tensors: Tensors) -> Tensors:
        try:
            results = self._session.run(self._names, dict(tensors), self._run_options)
        except self._invalid as exc:  # e.g. a token id beyond the vocabulary
            raise InputRefused(f"onnxruntime refuses the inputs: {exc}") from exc
        return dict(zip(self._names, results))

    def interrupt(self) -> None:
        self._run_options.terminate = True  # looked at before each node

    def rearm(self) -> None:
        self._run_options.terminate = False


def _spec(node: Any) -> TensorSpec:
    if node.type not in DTYPES:
        raise RuntimeFailure(f"{node.name} is a {node.type}, which edgetran does not carry")
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, DTYPES[node.type], shape)
