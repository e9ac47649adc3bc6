"""Runtimes by name; a worker imports only the one it was asked for.

A runtime needs numpy and its own library, nothing else of edgetran.
"""

import importlib
from typing import Mapping, Type

from edgetran_daemon.runtimes.base import Runtime, RuntimeFailure

RUNTIMES: Mapping[str, str] = {  # name -> module:attribute
    "onnxruntime": "edgetran_daemon.runtimes.onnx:OnnxRuntime",
    "openvino": "edgetran_daemon.runtimes.openvino:OpenVinoRuntime",
    "litert": "edgetran_daemon.runtimes.litert:LiteRtRuntime",
    "tensorrt": "edgetran_daemon.runtimes.tensorrt:TensorRtRuntime",
    "myriad": "edgetran_daemon.runtimes.myriad:MyriadRuntime",
}


def runtime_class(name: str) -> Type[Runtime]:
    """Raises RuntimeFailure when edgetran has no runtime of that name."""
    if name not in RUNTIMES:
        raise RuntimeFailure(f"no runtime {name!r}; known: {', '.join(RUNTIMES)}")
    module, _, attribute = RUNTIMES[name].partition(":")
    found: Type[Runtime] = getattr(importlib.import_module(module), attribute)
    return found
