"""Where models learn and predict: a CUDA device where PyTorch has one, else the CPU.

Models rest on the CPU; whoever trains one or asks it moves it for as long as that takes.
EDGETRAN_DEVICE=cpu or cuda decides otherwise.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from edgetran_protos.errors import UsageError
from torch import Tensor, nn

ENVIRONMENT = "EDGETRAN_DEVICE"
CHOICES = ("auto", "cpu", "cuda")
CPU = torch.device("cpu")


def compute_device() -> torch.device:
    """Raises UsageError when CUDA is asked for and PyTorch has none."""
    asked = os.environ.get(ENVIRONMENT, "auto")
    if asked not in CHOICES:
        raise UsageError(
            f"{ENVIRONMENT}={asked!r} is no device", hint=f"choose {', '.join(CHOICES)}"
        )
    if asked == "cpu":
        return CPU
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if asked == "cuda":
        raise UsageError(
            f"{ENVIRONMENT}=cuda, but PyTorch {torch.__version__} finds no CUDA device",
            hint=f"install a CUDA build of PyTorch, or unset {ENVIRONMENT}",
        )
    return CPU


@contextlib.contextmanager
def moved(module: nn.Module, device: torch.device) -> Iterator[None]:
    """The module there for the time of a block, and back on the CPU behind it."""
    module.to(device)
    try:
        yield
    finally:
        module.to(CPU)


@contextlib.contextmanager
def own_draws(device: torch.device, seed: int) -> Iterator[None]:
    """Random draws from `seed`; those of the world outside go on as if there had been none."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def random_state(device: torch.device) -> Tensor:
    """(bytes,): the CPU's generator, and behind it that of a CUDA device."""
    state = torch.get_rng_state()
    if device.type == "cuda":
        state = torch.cat([state, torch.cuda.get_rng_state(device)])
    return state


def set_random_state(state: Tensor, device: torch.device) -> None:
    own = len(torch.get_rng_state())
    torch.set_rng_state(state[:own].clone())  # it reads past an offset
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[own:].clone(), device)
