"""OpenVINO on the CPU. A graph is one file: a plain tar of model.xml and model.bin."""

import importlib.util
import sys
import tarfile
import time
from typing import Any, Dict, Mapping, Sequence, Tuple

import numpy as np

from edgetran_daemon.runtimes.base import (
    Runtime,
    RuntimeFailure,
    Tensors,
    TensorSpec,
    check_choices,
    installed_version,
)

MEMBERS = ("model.xml", "model.bin")
PROPERTIES = {
    # Without it some CPUs compute in bf16 or fp16, and logits leave the golden ones.
    "INFERENCE_PRECISION_HINT": "f32",
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,  # the worker chooses its cores
}

# After a run that took as long, the next is handed to a thread of OpenVINO's: 12 microseconds
# more, but only such a run can be cancelled.
LONG_S = 0.01


class OpenVinoRuntime(Runtime):
    name = "openvino"

    def __init__(self, path: str, threads: int) -> None:
        # Importing this one writes an identity into the home directory, to report use with.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        try:
            core = openvino.Core()
            model = core.read_model(*_members(path))
            properties = {**PROPERTIES, "INFERENCE_NUM_THREADS": threads}
            compiled = core.compile_model(model, "CPU", properties)
            self._inputs = tuple(_spec(port) for port in compiled.inputs)
            self._outputs = tuple(_spec(port) for port in compiled.outputs)
            self._rows = _table_rows(model)
            self._request = compiled.create_infer_request()
            self._run_s = 0.0  # of the last one
        except Exception as exc:  # its errors share no base class
            raise RuntimeFailure(f"openvino cannot load the graph: {exc}") from exc

    @staticmethod
    def unavailable() -> str:
        if importlib.util.find_spec("openvino") is None:
            return "openvino is not installed"
        return ""

    @staticmethod
    def version() -> str:
        return installed_version("openvino", "openvino")

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return self._inputs

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return self._outputs

    def _run(self, tensors: Tensors) -> Tensors:
        check_choices(tensors, self._rows)
        given = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        started = time.perf_counter()
        if self._run_s < LONG_S:
            found = self._request.infer(given)
        else:
            self._request.start_async(given)
            self._request.wait()
            found = self._request.results
        self._run_s = time.perf_counter() - started
        return {spec.name: np.array(found[spec.name]) for spec in self._outputs}

    def interrupt(self) -> None:
        self._request.cancel()  # between two operations; nothing where none runs


def _members(path: str) -> Tuple[bytes, bytes]:
    """The two files, read by name: nothing is unpacked to disk."""
    with tarfile.open(path, "r:") as archive:
        members = [archive.getmember(name) for name in MEMBERS]
        # A sparse member may claim more bytes than any memory holds.
        if not all(member.isreg() and not member.issparse() for member in members):
            raise RuntimeFailure(f"{', '.join(MEMBERS)} must be plain files")
        found = [archive.extractfile(member) for member in members]
        xml, weights = (file.read() for file in found if file is not None)
    return xml, weights


def _spec(port: Any) -> TensorSpec:
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    return TensorSpec(port.any_name, np.dtype(port.element_type.to_dtype()).name, shape)


def _table_rows(model: Any) -> Mapping[str, int]:
    """How many rows an input may choose from; beyond them OpenVINO reads zeros and says nothing."""
    found: Dict[str, int] = {}
    for parameter in model.get_parameters():
        name = parameter.output(0).any_name
        pending = list(parameter.output(0).get_target_inputs())
        while pending:
            port = pending.pop()
            node = port.get_node()
            if node.get_type_name() == "Convert":
                pending += node.output(0).get_target_inputs()
            elif node.get_type_name() == "Gather" and port.get_index() == 1:
                rows = _gathered_rows(node)
                found[name] = min(rows, found.get(name, rows))
    return found


def _gathered_rows(gather: Any) -> int:
    axis = int(gather.input_value(2).get_node().get_data())
    return int(gather.input_value(0).get_partial_shape()[axis].get_length())
