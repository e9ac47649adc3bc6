"""What every runtime has in common: checked tensors in, checked tensors out.

Shapes: a dimension is an int when the graph fixes it and None when it is free.
This folder and `worker` keep to Python 3.6, the oldest that a supported board brings.
"""

import abc
import importlib
import sys
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

if TYPE_CHECKING:  # an array takes no type arguments on old Pythons
    Tensor = np.ndarray[Any, np.dtype[Any]]
else:
    Tensor = np.ndarray
Tensors = Mapping[str, Tensor]


class RuntimeFailure(Exception):
    """The runtime could not load or run the graph."""


class InputRefused(Exception):
    """The tensors do not fit the graph; the caller's mistake."""


class TensorSpec(NamedTuple):
    """One input or output of a graph."""

    name: str
    dtype: str  # numpy's name: "int64", "float32"
    shape: Tuple[Optional[int], ...]


class Runtime(abc.ABC):
    """Runs one graph. Callers use `run`; a back-end writes `_run`."""

    name: str
    has_device = False  # beside the processor: `no_device` looks for it

    @abc.abstractmethod
    def __init__(self, path: str, threads: int) -> None: ...

    @staticmethod
    @abc.abstractmethod
    def unavailable() -> str:
        """Why this runtime cannot work in this Python; empty when it can."""

    @staticmethod
    def no_device() -> str:
        """Why its device cannot be used; empty when it can.

        It loads the library and the driver, so it is asked in a worker's process.
        """
        return ""

    @staticmethod
    @abc.abstractmethod
    def version() -> str: ...

    @property
    @abc.abstractmethod
    def inputs(self) -> Sequence[TensorSpec]: ...

    @property
    @abc.abstractmethod
    def outputs(self) -> Sequence[TensorSpec]: ...

    def run(self, tensors: Tensors) -> Tensors:
        """Raises InputRefused or RuntimeFailure."""
        self.check(tensors)
        return self.run_checked(tensors)

    def run_checked(self, tensors: Tensors) -> Tensors:
        """`run` without the checks: the inside of a timed loop."""
        try:
            return self._run(tensors)
        except (InputRefused, RuntimeFailure):
            raise
        except Exception as exc:
            raise RuntimeFailure(f"{self.name} failed: {exc}") from exc

    def check(self, tensors: Tensors) -> None:
        missing = [spec.name for spec in self.inputs if spec.name not in tensors]
        unknown = sorted(set(tensors) - {spec.name for spec in self.inputs})
        if missing or unknown:
            raise InputRefused(
                f"the graph takes {[spec.name for spec in self.inputs]}"
                f"; missing {missing}, unknown {unknown}"
            )
        for spec in self.inputs:
            _check_tensor(spec, tensors[spec.name])
        self._check_batch(tensors)

    def _check_batch(self, tensors: Tensors) -> None:
        rows = {len(tensors[spec.name]) for spec in self.inputs if spec.shape}
        if len(rows) > 1:
            raise InputRefused(f"inputs differ in their number of rows: {sorted(rows)}")
        if rows == {0}:
            raise InputRefused("the inputs have no rows")

    @abc.abstractmethod
    def _run(self, tensors: Tensors) -> Tensors: ...

    def interrupt(self) -> None:  # noqa: B027 - most runtimes cannot
        """Ends the run under way soon, where the runtime can; called by another thread."""

    def rearm(self) -> None:  # noqa: B027
        """Before a run: what interrupted the one before is over."""


def installed_version(distribution: str, module: str) -> str:
    """Of a runtime's library; empty when unknown: a board's maker may build it without metadata."""
    if sys.version_info < (3, 8):
        return str(getattr(importlib.import_module(module), "__version__", ""))
    from importlib import metadata  # novm: the branch above is for older Pythons

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def check_choices(tensors: Tensors, table_rows: Mapping[str, int]) -> None:
    """Raises InputRefused for a number beyond its table, where a runtime would read on."""
    for name, rows in table_rows.items():
        if tensors[name].max() >= rows or tensors[name].min() < 0:
            raise InputRefused(f"{name} must be from 0 to {rows - 1}")


def _check_tensor(spec: TensorSpec, tensor: Tensor) -> None:
    if tensor.dtype != np.dtype(spec.dtype):
        raise InputRefused(f"{spec.name} must be {spec.dtype}, got {tensor.dtype}")
    fits = tensor.ndim == len(spec.shape) and all(
        want is None or want == got for want, got in zip(spec.shape, tensor.shape)
    )
    if not fits:
        wanted = tuple("any" if want is None else want for want in spec.shape)
        raise InputRefused(f"{spec.name} must have shape {wanted}, got {tensor.shape}")
