"""A graph as OpenVINO's intermediate representation: one plain tar of model.xml and model.bin.

fp32          as exported
fp16          weights stored in half precision, computed in single
int8          weights and activations, scaled once on calibration rows (NNCF); products of
              two activations and of transforms stay in float
int8-weights  weights and embedding tables only, one scale a channel (NNCF)
The sequence length is fixed and the batch is free, as in the source.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_protos.errors import ExportError
from numpy.typing import NDArray

from edgetran_host.export.graph import INPUTS, OUTPUT
from edgetran_host.export.missing import MissingPackage
from edgetran_host.export.quantisation import TRANSFORM_MARKS
from edgetran_host.tasks import Encoded

MEMBERS = ("model.xml", "model.bin")
SAME_VALUES = {"Convert", "Reshape", "Transpose", "Unsqueeze", "Squeeze"}
MAX_CALIBRATION_ROWS = 300  # NNCF's own default
PROPERTIES = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}  # as on a board


def export_openvino(
    source: Path, precision: str, target: Path, calibration: Encoded | None = None
) -> None:
    """Writes `source`, an ONNX graph, in `precision` to `target`; int8 needs training rows.

    Raises ExportError.
    """
    openvino = _openvino()

    try:
        model = openvino.Core().read_model(source)
        if precision.startswith("int8"):
            model = _quantised(model, precision, calibration)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            xml = Path(scratch) / MEMBERS[0]
            openvino.save_model(model, xml, compress_to_fp16=precision == "fp16")
            _pack(xml.parent, target)
    except ExportError:
        raise
    except Exception as exc:  # its errors share no base class
        first = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise ExportError(
            f"the model cannot be expressed in OpenVINO {precision}: {first}"
        ) from exc


def read_openvino(path: Path) -> Any:
    """The graph of `export_openvino`, an openvino.Model. Raises ExportError."""
    openvino = _openvino()

    try:
        with tarfile.open(path, "r:") as archive:
            found = [archive.extractfile(name) for name in MEMBERS]
            xml, weights = (file.read() for file in found if file is not None)
        return openvino.Core().read_model(xml, weights)
    except Exception as exc:  # its errors share no base class
        raise ExportError(f"OpenVINO does not load {path.name}: {exc}") from exc


def openvino_session(
    path: Path, threads: int
) -> Callable[[dict[str, NDArray[np.int64]]], NDArray[np.float32]]:
    """A function from tensors to logits."""
    openvino = _openvino()

    properties = {**PROPERTIES, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(read_openvino(path), "CPU", properties)
    request = compiled.create_infer_request()

    def run(tensors: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        outputs: NDArray[np.float32] = request.infer(tensors)[OUTPUT]
        return outputs

    return run


def _quantised(model: Any, precision: str, calibration: Encoded | None) -> Any:
    _needs("nncf")
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)  # set_log_level changes foreign handlers too
    with _silent():
        if precision == "int8-weights":
            return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
        if not calibration:
            raise ExportError("int8 scales activations on rows of the training set; none came")
        rows = [
            {name: getattr(calibration, name)[at : at + 1] for name in INPUTS}
            for at in range(min(len(calibration), MAX_CALIBRATION_ROWS))
        ]
        return nncf.quantize(
            model,
            nncf.Dataset(rows),
            subset_size=len(rows),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=_kept_in_float(model)),
        )


def _kept_in_float(model: Any) -> list[str]:
    """Products of two activations, and those by the constant matrices of transforms.

    In 8 bits attention scores cost a model of mixed heads three times the error for no time.
    """
    return [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "MatMul" and not any(map(_is_weight, node.input_values()))
    ]


def _is_weight(value: Any) -> bool:
    node = value.get_node()
    while node.get_type_name() in SAME_VALUES:
        node = node.input_value(0).get_node()
    name = node.get_friendly_name()
    return bool(
        node.get_type_name() == "Constant" and not any(mark in name for mark in TRANSFORM_MARKS)
    )


def _pack(folder: Path, target: Path) -> None:
    """The same files make the same bytes: no owner, no time."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in MEMBERS:
            data = (folder / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _openvino() -> Any:
    """The package, without the one by which it and NNCF report their use over the network.

    That one writes an identity into the home directory as soon as it is imported.
    """
    _needs("openvino")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def _needs(package: str) -> None:
    if find_spec(package) is None:
        raise MissingPackage(
            f"{package} is not installed", hint="pip install 'edgetran-host[openvino]'"
        )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """NNCF draws progress bars on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
