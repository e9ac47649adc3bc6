"""NVIDIA TensorRT 8 and 9 on a board's GPU: an ONNX graph, built once into an engine of this board.

Building takes minutes on a small board, so the engine is kept beside the graph. It fits one
graph, one version of TensorRT and one kind of GPU alone, and is named after them. A graph whose
property `edgetran.precision` is fp16 may be computed in half precision where that is fast.

Calls as in TensorRT 8.2's own bindings (NVIDIA/TensorRT, python/src/infer/pyCore.cpp) and its
developer guide ("The Python API"). Version 10 took away the numbered bindings used here.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import os
from typing import Any, List, NamedTuple, Sequence, Tuple

import numpy as np

from edgetran_daemon.runtimes.base import (
    Runtime,
    RuntimeFailure,
    Tensors,
    TensorSpec,
    check_choices,
)
from edgetran_daemon.runtimes.cuda import Cuda
from edgetran_daemon.runtimes.onnx_file import read_onnx

MODULE = "tensorrt"  # of the board's maker, not from an index
OLDEST, NEWEST = 8, 9  # major versions
MAX_ROWS = 16  # of one run; a larger batch takes several
WORKSPACE_BYTES = 256 << 20  # scratch memory that the fastest kernels may ask for
PRECISION, FP16 = "edgetran.precision", "fp16"


class Binding(NamedTuple):
    """One tensor of the engine, and its memory on the GPU."""

    name: str
    dtype: Any
    is_input: bool
    address: int


class TensorRtRuntime(Runtime):
    name = "tensorrt"
    has_device = True

    def __init__(self, path: str, threads: int) -> None:
        self._trt = importlib.import_module(MODULE)
        try:
            with open(path, "rb") as file:
                data = file.read()
            self._graph = read_onnx(data)
            self._cuda = Cuda()
            self._log = _log(self._trt)
            self._engine = self._kept_or_built(path, data)
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise RuntimeFailure(f"there is no memory for the engine: {self._complaint()}")
            self._bindings = [self._binding(at) for at in range(self._engine.num_bindings)]
        except RuntimeFailure:
            raise
        except Exception as exc:  # its errors share no base class
            raise RuntimeFailure(f"tensorrt cannot load the graph: {exc}") from exc

    @staticmethod
    def unavailable() -> str:
        if importlib.util.find_spec(MODULE) is None:
            return "tensorrt is not installed"
        return ""

    @staticmethod
    def no_device() -> str:
        version = TensorRtRuntime.version()
        major = int(version.partition(".")[0])
        if not OLDEST <= major <= NEWEST:
            return f"TensorRT {version} is not one of {OLDEST} to {NEWEST}"
        try:
            Cuda()
        except RuntimeFailure as exc:
            return str(exc)
        return ""

    @staticmethod
    def version() -> str:
        return str(importlib.import_module(MODULE).__version__)

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return self._graph.inputs

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return self._graph.outputs

    def _kept_or_built(self, path: str, data: bytes) -> Any:
        major, minor = self._cuda.capability()
        digest = hashlib.sha256(data).hexdigest()[:16]
        place = f"{path}.{digest}-tensorrt{self.version()}-sm{major}{minor}.engine"
        runtime = self._runtime = self._trt.Runtime(self._log)
        engine = None
        if os.path.exists(place):
            with open(place, "rb") as file:
                engine = runtime.deserialize_cuda_engine(file.read())
        if engine is None:  # none yet, or one that this TensorRT does not take after all
            plan = self._built(data)
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise RuntimeFailure(f"tensorrt refuses its own engine: {self._complaint()}")
            _keep(place, plan)
        return engine

    def _built(self, data: bytes) -> bytes:
        trt = self._trt
        builder = trt.Builder(self._log)
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
        network = builder.create_network(flags)
        parser = trt.OnnxParser(network, self._log)
        if not parser.parse(data):
            errors = [str(parser.get_error(at).desc()) for at in range(parser.num_errors)]
            raise RuntimeFailure(f"tensorrt cannot read the graph: {'; '.join(errors[:3])}")
        config = builder.create_builder_config()
        config.max_workspace_size = WORKSPACE_BYTES
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 is to be fp32
        if self._graph.properties.get(PRECISION) == FP16 and builder.platform_has_fast_fp16:
            config.set_flag(trt.BuilderFlag.FP16)
        profile = builder.create_optimization_profile()
        for spec in self._graph.inputs:
            behind = _behind_the_batch(spec)
            profile.set_shape(spec.name, (1, *behind), (1, *behind), (MAX_ROWS, *behind))
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise RuntimeFailure(f"tensorrt cannot build an engine: {self._complaint()}")
        return bytes(plan)

    def _complaint(self) -> str:
        return "; ".join(self._log.errors[-3:]) or "it does not say why"

    def _binding(self, at: int) -> Binding:
        engine = self._engine
        dtype = np.dtype(self._trt.nptype(engine.get_binding_dtype(at)))
        elements = MAX_ROWS
        for size in tuple(engine.get_binding_shape(at))[1:]:
            elements *= int(size)
        address = self._cuda.allocate(elements * dtype.itemsize)
        return Binding(
            engine.get_binding_name(at), dtype, bool(engine.binding_is_input(at)), address
        )

    def _run(self, tensors: Tensors) -> Tensors:
        check_choices(tensors, self._graph.table_rows)
        count = len(next(iter(tensors.values())))
        found = [
            self._run_some({name: tensor[at : at + MAX_ROWS] for name, tensor in tensors.items()})
            for at in range(0, count, MAX_ROWS)
        ]
        return {s.name: np.concatenate([part[s.name] for part in found]) for s in self.outputs}

    def _run_some(self, tensors: Tensors) -> Tensors:
        held: List[Any] = []  # until the GPU is done with them
        for at, binding in enumerate(self._bindings):
            if binding.is_input:
                given = np.ascontiguousarray(tensors[binding.name], binding.dtype)
                held.append(given)
                if not self._context.set_binding_shape(at, given.shape):
                    raise RuntimeFailure(f"tensorrt refuses {given.shape} for {binding.name}")
                self._cuda.copy_in(binding.address, given)
        addresses = [binding.address for binding in self._bindings]
        if not self._context.execute_async_v2(addresses, self._cuda.stream):
            raise RuntimeFailure(f"tensorrt cannot run the engine: {self._complaint()}")
        results = {}
        for at, binding in enumerate(self._bindings):
            if not binding.is_input:
                shape = tuple(self._context.get_binding_shape(at))
                results[binding.name] = np.empty(shape, binding.dtype)
                self._cuda.copy_out(results[binding.name], binding.address)
        self._cuda.wait()
        return results


def _behind_the_batch(spec: TensorSpec) -> Tuple[int, ...]:
    if not spec.shape or spec.shape[0] is not None or None in spec.shape[1:]:
        raise RuntimeFailure(f"{spec.name} must have a free batch and fixed dimensions behind it")
    return tuple(size for size in spec.shape[1:] if size is not None)


def _keep(place: str, plan: bytes) -> None:
    """Whole or not at all. Where nothing can be written, it is built again next time."""
    partial = f"{place}.{os.getpid()}.partial"
    with contextlib.suppress(OSError):
        try:
            with open(partial, "wb") as file:
                file.write(plan)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, place)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)


def _log(trt: Any) -> Any:
    """TensorRT's messages: errors are kept, the rest is no news to a user."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # TensorRT wants it so, and crashes without
            self.errors: List[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(str(msg))

    return Log()
