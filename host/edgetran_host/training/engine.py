"""Who shares a training run: this process alone, or several that step together.

`torchrun --nproc-per-node 2` (or mpirun) starts the same program several times; each
process computes its rows of every batch, gradients are summed, and all take the same
step. `accelerate launch --cpu --num_processes 2` starts one process: with --cpu it skips
every launcher of its own, and reads the number only beside --mpirun_hostfile (1.15).
accelerate is loaded only where several run, so a lone process pays nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from edgetran_host.training.device import CPU, compute_device, random_state

SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


class Engine:
    """A lone process: nothing to share."""

    rank = 0
    count = 1

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""
        return list(values)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """In place."""

    def start_alike(self, module: nn.Module) -> None:
        """Gives every process the weights of the first."""

    def device(self) -> torch.device:
        """That this process computes on."""
        return compute_device()

    def generators(self) -> Tensor:
        """(processes, bytes): where the random generators of each stand."""
        return random_state(self.device())[None]

    def wait(self) -> None:
        """Until all processes are here."""


class Processes(Engine):
    """Several processes over accelerate; on CPUs they talk through gloo."""

    def __init__(self) -> None:
        from accelerate import Accelerator

        self._accelerator = Accelerator(cpu=True)
        self.rank = self._accelerator.process_index
        self.count = self._accelerator.num_processes

    def sums(self, values: Sequence[float]) -> list[float]:
        found: Tensor = self._accelerator.reduce(torch.tensor(values, dtype=torch.float64))
        return [float(value) for value in found]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])  # one message
        flat = self._accelerator.reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts):
            gradient.copy_(part.view_as(gradient))

    def start_alike(self, module: nn.Module) -> None:
        from accelerate.utils import broadcast

        with torch.no_grad():
            for tensor in module.state_dict().values():
                tensor.copy_(broadcast(tensor.contiguous()))

    def device(self) -> torch.device:
        return CPU

    def generators(self) -> Tensor:
        found: Tensor = self._accelerator.gather(torch.get_rng_state()[None])
        return found

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()


@lru_cache(maxsize=1)
def engine() -> Engine:
    """As this process was started."""
    several = any(int(os.environ.get(name, "1")) > 1 for name in SIZES)
    return Processes() if several else Engine()
