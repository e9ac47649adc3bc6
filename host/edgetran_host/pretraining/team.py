"""The processes that share a pre-training, the device of each, and its precision.

`accelerate launch` or `torchrun` starts the same command several times; accelerate then
wraps the model in DistributedDataParallel. A lone process loads neither.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from edgetran_protos.errors import UsageError
from torch import Tensor, nn

from edgetran_host.training.device import compute_device
from edgetran_host.training.engine import SIZES
from edgetran_host.training.precision import has_fast_bf16

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
POLL_S = 0.2
T = TypeVar("T")


class Team:
    """A lone process; `Processes` are several."""

    rank = 0
    count = 1

    def __init__(self, device: str, precision: str) -> None:
        """Raises UsageError when the device is not there."""
        self.device = self._placed(available(device))
        fast = self.device.type == "cuda" or has_fast_bf16()
        self.bf16 = precision == "bf16" or (precision == "auto" and fast)

    def _placed(self, kind: str) -> torch.device:
        return torch.device(kind)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def shared(self, module: nn.Module) -> nn.Module:
        """What to call in its place, so that gradients become the mean over the team."""
        return module

    def alone(self, shared: nn.Module) -> AbstractContextManager[Any]:
        """While entered, gradients stay this process' own."""
        return contextlib.nullcontext()

    def mean(self, values: Tensor) -> Tensor:
        """Over the team, on the CPU."""
        return values.cpu()

    def first_says(self, values: Sequence[float]) -> list[float]:
        """What the first process says."""
        return list(values)

    def wait(self) -> None:
        """Until all are here."""

    def close(self) -> None:
        """Ends what the processes share."""

    def mine(self, rows: int) -> slice:
        """Of a batch."""
        share = rows // self.count
        return slice(self.rank * share, (self.rank + 1) * share)


class Processes(Team):
    def __init__(self, device: str, precision: str) -> None:
        super().__init__(device, precision)
        self.rank = self._accelerator.process_index
        self.count = self._accelerator.num_processes

    def _placed(self, kind: str) -> torch.device:
        from accelerate import Accelerator, DistributedDataParallelKwargs

        settings = DistributedDataParallelKwargs(  # buffers are constants
            broadcast_buffers=False, gradient_as_bucket_view=True
        )
        self._accelerator = Accelerator(cpu=kind == "cpu", kwargs_handlers=[settings])
        found: torch.device = self._accelerator.device
        return found

    def shared(self, module: nn.Module) -> nn.Module:
        found: nn.Module = self._accelerator.prepare_model(module)
        return found

    def alone(self, shared: nn.Module) -> AbstractContextManager[Any]:
        found: AbstractContextManager[Any] = self._accelerator.no_sync(shared)
        return found

    def mean(self, values: Tensor) -> Tensor:
        found: Tensor = self._accelerator.reduce(values.to(self.device), "mean")
        return found.cpu()

    def first_says(self, values: Sequence[float]) -> list[float]:
        from accelerate.utils import broadcast

        told = torch.tensor(values, dtype=torch.float64, device=self.device)
        return [float(value) for value in broadcast(told)]

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()

    def close(self) -> None:
        self._accelerator.end_training()


@contextlib.contextmanager
def team(device: str, precision: str) -> Iterator[Team]:
    """As this process was started."""
    found = Processes(device, precision) if is_shared() else Team(device, precision)
    try:
        yield found
    finally:
        found.close()


def is_shared() -> bool:
    return any(int(os.environ.get(name, "1")) > 1 for name in SIZES)


def is_first() -> bool:
    """Before the processes know each other: what torchrun, accelerate and mpirun tell each."""
    names = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def once(make: Callable[[], T], find: Callable[[], T | None]) -> T:
    """What the first process makes; the others look for it until it is there.

    Without a collective, since those give up on a slow preparation. If it fails, the
    launcher ends the others.
    """
    if is_first():
        return make()
    while (found := find()) is None:
        time.sleep(POLL_S)
    return found


def available(asked: str) -> str:
    """The kind of device that is meant. Raises UsageError when it is not there."""
    if asked == "auto":
        return compute_device().type
    if asked == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "PyTorch sees no CUDA device here",
            hint="give --device cpu, or install PyTorch for CUDA and check nvidia-smi",
        )
    return asked
