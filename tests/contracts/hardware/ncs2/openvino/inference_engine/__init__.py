"""Plays OpenVINO 2021.4.2's `inference_engine` with a stick, and computes with ONNX Runtime.

Names, arguments and errors were tried on the release's own package (CPython 3.9, x86-64, no
stick): the slow test beside this one runs the same contract on it. What only a stick shows is
as its documents say (docs.openvino.ai/2021.4, "MYRIAD device"): fixed shapes, no 64-bit inputs.

NCS2_STICKS: how many are plugged in (1). DEVICE_TRANSCRIPT: a file to which calls are appended.
"""

import os

import numpy as np
import onnxruntime

__version__ = "2021.4.2"
DEVICE = "MYRIAD"
TYPES = {"tensor(int64)": "I64", "tensor(float)": "FP32"}
ARRAYS = {"I32": np.int32, "FP32": np.float32}


def played(text):
    path = os.environ.get("DEVICE_TRANSCRIPT")
    if path:
        with open(path, "a") as file:
            file.write(text + "\n")


class Port:
    def __init__(self, kind):
        self.precision = TYPES[kind]


class IENetwork:
    def __init__(self, data):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
        self.input_info = {port.name: Port(port.type) for port in self.session.get_inputs()}
        self.outputs = {port.name: Port(port.type) for port in self.session.get_outputs()}
        self.shapes = {}

    def reshape(self, input_shapes):
        played("reshape {}".format(sorted(input_shapes.items())))
        self.shapes = {name: tuple(shape) for name, shape in input_shapes.items()}


class IECore:
    @property
    def available_devices(self):
        return ["CPU", DEVICE] if int(os.environ.get("NCS2_STICKS", "1")) else ["CPU"]

    def get_versions(self, device_name):
        if device_name not in ("CPU", DEVICE):
            raise RuntimeError("Device with name is not registered")
        return {device_name: __version__}

    def read_network(self, model, weights="", init_from_buffer=False):
        played("read_network {} buffer={}".format(type(model).__name__, init_from_buffer))
        if not init_from_buffer:
            raise TypeError("played from a buffer only")
        if not isinstance(weights, bytes):
            raise TypeError("expected bytes, str found")
        return IENetwork(model)

    def load_network(self, network, device_name, config=None):
        precisions = {name: port.precision for name, port in network.input_info.items()}
        played("load_network {} {}".format(device_name, sorted(precisions.items())))
        if device_name not in self.available_devices:
            raise RuntimeError("Can not init Myriad device: NC_ERROR")
        if set(network.shapes) != set(precisions):
            raise RuntimeError("the network has dynamic shapes")
        if not set(precisions.values()) <= set(ARRAYS):
            raise RuntimeError("Unsupported precision {}".format(precisions))
        return ExecutableNetwork(network, precisions)


class ExecutableNetwork:
    def __init__(self, network, precisions):
        self._network, self._precisions, self._results = network, precisions, {}

    def infer(self, inputs):
        played("infer {}".format(sorted(inputs)))
        for name, array in inputs.items():
            if array.shape != self._network.shapes[name]:
                raise ValueError(
                    "could not broadcast input array from shape {}".format(array.shape)
                )
            if array.dtype != ARRAYS[self._precisions[name]]:
                raise ValueError("{} is not {}".format(array.dtype, self._precisions[name]))
        given = {name: array.astype(np.int64) for name, array in inputs.items()}
        for name, found in zip(self._network.outputs, self._network.session.run(None, given)):
            # One buffer for all answers, so that a caller who keeps the last one is found out.
            kept = self._results.setdefault(name, found.copy())
            kept[...] = found
        return self._results
