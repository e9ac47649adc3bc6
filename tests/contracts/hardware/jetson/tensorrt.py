"""Plays TensorRT 8's Python module, as far as the adapter calls it, and computes with ONNX Runtime.

Names, arguments and what comes back are those of NVIDIA/TensorRT, python/src/infer/pyCore.cpp
(8.2): most failures are a None or a False and a message to the logger, not an exception. As its
developer guide says: a network from ONNX needs EXPLICIT_BATCH; a dynamic input needs an
optimisation profile, and a shape within it before a run; an engine serves one version of
TensorRT and one compute capability. Its ONNX parser hands int64 inputs on as int32
(onnx-tensorrt's changelog, 9.0). Memory is that of cuda_driver.c.

TENSORRT_VERSION: 8.2.1.8 if not told. CUDA_SM: as in cuda_driver.c.
"""

import ctypes
import enum
import json
import os

import numpy as np
import onnxruntime

__version__ = os.environ.get("TENSORRT_VERSION", "8.2.1.8")
MAGIC = b"ftrt"
HEADER_BYTES = 256
DRIVER = ctypes.CDLL("libcuda.so.1")
DRIVER.played_block.argtypes = (ctypes.c_uint64, ctypes.c_size_t)
DRIVER.played_stream.argtypes = (ctypes.c_void_p,)


def played(text):
    DRIVER.played(b"%s", text.encode())


class DataType(enum.IntEnum):
    FLOAT, HALF, INT8, INT32, BOOL = range(5)


class BuilderFlag(enum.IntEnum):
    FP16, INT8, DEBUG, GPU_FALLBACK, STRICT_TYPES, REFIT, DISABLE_TIMING_CACHE, TF32 = range(8)


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH, EXPLICIT_PRECISION = range(2)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self):
        self._made = True


def nptype(dtype):
    return {DataType.FLOAT: np.float32, DataType.INT32: np.int32}[dtype]


def check_logger(logger):
    if not getattr(logger, "_made", False):
        raise TypeError("TensorRT's logger was not initialised (ILogger.__init__)")


def session_of(data):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class Network:
    def __init__(self, flags):
        self.explicit = bool(flags & (1 << NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
        self.data = None


class ParserError:
    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text


class OnnxParser:
    def __init__(self, network, logger):
        check_logger(logger)
        self._network, self._errors = network, []

    def parse(self, model):
        played("parse")
        if not self._network.explicit:
            self._errors = ["This version of the ONNX parser only supports EXPLICIT_BATCH"]
            return False
        try:
            session_of(model)
        except Exception as exc:
            self._errors = [str(exc)]
            return False
        self._network.data = model
        return True

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return ParserError(self._errors[index])


class OptimizationProfile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, input, min, opt, max):
        played("set_shape {} {} {} {}".format(input, min, opt, max))
        if not all(a <= b <= c for a, b, c in zip(min, opt, max)):
            raise RuntimeError("Shape provided for max is inconsistent with other shapes.")
        self.shapes[input] = [list(min), list(opt), list(max)]


class BuilderConfig:
    def __init__(self):
        self.flags, self.profiles = {BuilderFlag.TF32}, []
        self.max_workspace_size = 0

    def set_flag(self, flag):
        played("set_flag {}".format(BuilderFlag(flag).name))
        self.flags.add(flag)

    def clear_flag(self, flag):
        played("clear_flag {}".format(BuilderFlag(flag).name))
        self.flags.discard(flag)

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Builder:
    platform_has_fast_fp16 = True

    def __init__(self, logger):
        check_logger(logger)
        self._logger = logger

    def create_network(self, flags=0):
        played("create_network {}".format(flags))
        return Network(flags)

    def create_builder_config(self):
        return BuilderConfig()

    def create_optimization_profile(self):
        return OptimizationProfile()

    def build_serialized_network(self, network, config):
        played("build_serialized_network workspace={}".format(config.max_workspace_size))
        inputs = session_of(network.data).get_inputs()
        dynamic = [i.name for i in inputs if not all(isinstance(n, int) for n in i.shape)]
        shapes = config.profiles[0].shapes if config.profiles else {}
        if any(name not in shapes for name in dynamic):
            text = (
                "Network has dynamic or shape inputs, but no optimization profile has been defined."
            )
            self._logger.log(ILogger.ERROR, text)
            return None
        flags = sorted(flag.name for flag in config.flags)
        header = {"version": __version__, "sm": sm(), "flags": flags, "shapes": shapes}
        text = json.dumps(header).encode()
        return memoryview(MAGIC + len(text).to_bytes(4, "big") + text + network.data)


def sm():
    return os.environ.get("CUDA_SM", "53")


class Runtime:
    def __init__(self, logger):
        check_logger(logger)
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        played("deserialize_cuda_engine")
        data = bytes(serialized_engine)
        if data[:4] != MAGIC:
            self._logger.log(
                ILogger.ERROR, "Serialization assertion magicTagRead == kMAGIC_TAG failed."
            )
            return None
        size = int.from_bytes(data[4:8], "big")
        header = json.loads(data[8 : 8 + size].decode())
        for key, here in (("version", __version__), ("sm", sm())):
            if header[key] != here:
                text = (
                    "The engine plan file is incompatible: expecting {} {} got {}, please rebuild."
                )
                self._logger.log(ILogger.ERROR, text.format(key, here, header[key]))
                return None
        return CudaEngine(self._logger, header, data[8 + size :])


class CudaEngine:
    def __init__(self, logger, header, data):
        self._logger, self.header, self.session = logger, header, session_of(data)
        self.tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
        self._inputs = len(self.session.get_inputs())

    @property
    def num_bindings(self):
        return len(self.tensors)

    def get_binding_name(self, index):
        return self.tensors[index].name

    def binding_is_input(self, index):
        return index < self._inputs

    def get_binding_dtype(self, index):
        kinds = {"tensor(int64)": DataType.INT32, "tensor(float)": DataType.FLOAT}
        return kinds[self.tensors[index].type]

    def get_binding_shape(self, index):
        return tuple(n if isinstance(n, int) else -1 for n in self.tensors[index].shape)

    def create_execution_context(self):
        return ExecutionContext(self, self._logger)


class ExecutionContext:
    def __init__(self, engine, logger):
        self._engine, self._logger, self._shapes = engine, logger, {}

    def set_binding_shape(self, binding, shape):
        name = self._engine.get_binding_name(binding)
        played("set_binding_shape {} {}".format(name, tuple(shape)))
        least, _, most = self._engine.header["shapes"][name]
        fits = len(shape) == len(most) and all(a <= n <= b for a, n, b in zip(least, shape, most))
        if not fits:
            text = "Parameter check failed: {} {} is not in the optimization profile's range"
            self._logger.log(ILogger.ERROR, text.format(name, shape))
            return False
        self._shapes[binding] = tuple(shape)
        return True

    def get_binding_shape(self, binding):
        if self._engine.binding_is_input(binding):
            return self._shapes[binding]
        rows = self._shapes[0][0]
        return tuple(rows if n < 0 else n for n in self._engine.get_binding_shape(binding))

    def execute_async_v2(self, bindings, stream_handle):
        engine, blocks, arrays = self._engine, [], []
        for index, address in enumerate(bindings):
            if engine.binding_is_input(index) and index not in self._shapes:
                self._logger.log(ILogger.ERROR, "Not all input dimensions were specified.")
                return False
            dtype = np.dtype(nptype(engine.get_binding_dtype(index)))
            shape = self.get_binding_shape(index)
            size = dtype.itemsize * int(np.prod(shape))
            blocks.append(DRIVER.played_block(address, size))
            if not blocks[-1]:
                raise SystemExit("the GPU would have read beyond its memory")
            raw = (ctypes.c_char * size).from_address(address)
            arrays.append(np.frombuffer(raw, dtype).reshape(shape))
        named = " ".join("#{}".format(block) for block in blocks)
        played("execute_async_v2 {}".format(named))
        if not DRIVER.played_stream(stream_handle):
            raise SystemExit("the stream is none of this driver's")
        inputs = self._engine.session.get_inputs()
        given = {i.name: arrays[at].astype(np.int64) for at, i in enumerate(inputs)}
        for array, found in zip(arrays[len(inputs) :], engine.session.run(None, given)):
            if BuilderFlag.FP16.name in engine.header["flags"]:
                found = found.astype(np.float16)
            array[...] = found
        return True
