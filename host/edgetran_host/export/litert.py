"""A model as a .tflite graph: fixed sequence length, one row a run.

fp32  as converted
int8  weights of matrix products and embedding tables; activations scaled at every inference
The converter, litert-torch, needs packages that conflict with others of this host, so it
runs by an interpreter of its own, which EDGETRAN_LITERT_PYTHON names.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from edgetran_protos.errors import ExportError
from numpy.typing import NDArray

from edgetran_host.export import litert_converter
from edgetran_host.export.missing import MissingPackage
from edgetran_host.export.program import export_program
from edgetran_host.models.text_model import TextModel

SETTING = "EDGETRAN_LITERT_PYTHON"
CONVERTER = "litert-torch==0.10.0"
LIMIT_S = 1800.0  # large encoders take minutes


def export_litert(model: TextModel, precision: str, target: Path) -> None:
    """Writes `model` in `precision` to `target`. Raises ExportError."""
    interpreter = converter_python()
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        program, made = Path(scratch) / "program.pt2", Path(scratch) / "made.tflite"
        export_program(model, program, rows=1)
        _convert(interpreter, program, precision, made)
        made.replace(target)


def converter_python() -> str:
    """The interpreter that has the converter. Raises ExportError saying how to make one."""
    named = os.environ.get(SETTING, "")
    if not named and find_spec("litert_torch"):
        return sys.executable
    if not named:
        raise MissingPackage("the converter to LiteRT is not set up", hint=_how_to())
    if not os.access(named, os.X_OK):
        raise MissingPackage(f"{SETTING} names {named}, which cannot be run", hint=_how_to())
    return named


def litert_session(
    path: Path, threads: int
) -> Callable[[dict[str, NDArray[np.int64]]], NDArray[np.float32]]:
    """A function from tensors to logits, run row by row. Raises ExportError."""
    if find_spec("ai_edge_litert") is None:
        raise MissingPackage("LiteRT is not installed", hint="pip install 'edgetran-host[litert]'")
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        runner = interpreter.get_signature_runner()
    except Exception as exc:  # its errors share no base class
        raise ExportError(f"LiteRT does not load {path.name}: {exc}") from exc

    def run(tensors: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        count = len(tensors[litert_converter.INPUTS[0]])
        rows = ({name: t[at : at + 1] for name, t in tensors.items()} for at in range(count))
        return np.concatenate([runner(**row)[litert_converter.OUTPUT] for row in rows])

    return run


def _convert(interpreter: str, program: Path, precision: str, made: Path) -> None:
    command = [interpreter, "-I", litert_converter.__file__, str(program), precision, str(made)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise ExportError(f"the converter to LiteRT did not end within {LIMIT_S:.0f} s") from exc
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    if done.returncode == litert_converter.LACKS_A_PACKAGE:
        raise MissingPackage(f"{interpreter} has no converter to LiteRT: {last}", hint=_how_to())
    if done.returncode or not made.exists():
        raise ExportError(f"the model cannot be expressed in LiteRT {precision}: {last}")


def _how_to() -> str:
    version = torch.__version__.partition("+")[0]
    return (
        f"python3 -m venv DIR && DIR/bin/pip install {CONVERTER} torch=={version}, about 2 GB, "
        f"then set {SETTING}=DIR/bin/python"
    )
