"""tiny_bundle's model as a .tflite graph, written with LiteRT's own schema; batch of one row."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "logits"
TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
}


class Builder:
    """A model of one subgraph; tensors are known by their names."""

    def __init__(self) -> None:
        self.tensors: dict[str, Any] = {}
        self.buffers = [schema.BufferT()]  # the first one is empty by convention
        self.operators: list[Any] = []
        self.codes: list[Any] = []

    def tensor(self, name: str, shape: Sequence[int], dtype: str) -> None:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), TYPES[dtype]
        tensor.buffer = 0
        self.tensors[name] = tensor

    def constant(self, name: str, value: np.ndarray) -> None:
        self.tensor(name, value.shape, value.dtype.name)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self.tensors[name].buffer = len(self.buffers)
        self.buffers.append(buffer)

    def operator(self, kind: str, inputs: Sequence[str], output: str, **options: Any) -> None:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
        places = list(self.tensors)
        operator.inputs = [places.index(name) for name in inputs]
        operator.outputs, operator.opcodeIndex = [places.index(output)], len(self.codes)
        for name, values in options.items():
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = getattr(schema, f"{name}T")()
            vars(operator.builtinOptions).update(values)
        self.codes.append(code)
        self.operators.append(operator)

    def model(self) -> bytes:
        places = list(self.tensors)
        graph, signature, model = schema.SubGraphT(), schema.SignatureDefT(), schema.ModelT()
        graph.tensors, graph.operators = list(self.tensors.values()), self.operators
        graph.inputs, graph.outputs = [places.index(n) for n in INPUTS], [places.index(OUTPUT)]
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs = [_entry(name, places) for name in INPUTS]
        signature.outputs = [_entry(OUTPUT, places)]
        model.version, model.description = 3, b"tiny"
        model.buffers, model.operatorCodes = self.buffers, self.codes
        model.subgraphs, model.signatureDefs = [graph], [signature]
        written = flatbuffers.Builder(1024)
        written.Finish(model.Pack(written), b"TFL3")
        return bytes(written.Output())


def _entry(name: str, places: list[str]) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), places.index(name)
    return entry


def graph(tiny: ModuleType, seed: int = 0) -> bytes:
    """Word vectors, masked sum, one linear layer: what tiny_bundle.reference computes."""
    length, labels = tiny.LENGTH, len(tiny.LABELS)
    weights, build = tiny.weights(seed), Builder()
    for name in INPUTS:
        build.tensor(name, (1, length), "int64")
    for name in ("words", "types"):
        build.constant(name, weights[name])
    build.constant("weight", np.ascontiguousarray(weights["out"].T))
    build.constant("bias", np.zeros(labels, np.float32))
    build.constant("last", np.array([2], np.int32))
    build.constant("middle", np.array([1], np.int32))
    width = weights["words"].shape[1]
    for name in ("word", "type", "vectors", "kept"):
        build.tensor(name, (1, length, width), "float32")
    build.tensor("float_mask", (1, length), "float32")
    build.tensor("mask", (1, length, 1), "float32")
    build.tensor("sum", (1, width), "float32")
    build.tensor(OUTPUT, (1, labels), "float32")
    build.operator("GATHER", ["words", "input_ids"], "word", GatherOptions={"axis": 0})
    build.operator("GATHER", ["types", "token_type_ids"], "type", GatherOptions={"axis": 0})
    build.operator("ADD", ["word", "type"], "vectors", AddOptions={})
    cast = {"inDataType": TYPES["int64"], "outDataType": TYPES["float32"]}
    build.operator("CAST", ["attention_mask"], "float_mask", CastOptions=cast)
    build.operator("EXPAND_DIMS", ["float_mask", "last"], "mask", ExpandDimsOptions={})
    build.operator("MUL", ["vectors", "mask"], "kept", MulOptions={})
    build.operator("SUM", ["kept", "middle"], "sum", ReducerOptions={"keepDims": False})
    build.operator("FULLY_CONNECTED", ["sum", "weight", "bias"], OUTPUT, FullyConnectedOptions={})
    return build.model()
