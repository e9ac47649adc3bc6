"""Fewer bits for the matrix products of training, where the device has instructions for it.

CPUs take bfloat16. CUDA devices take TF32: the models are so small that casts to bfloat16 and
back would cost more launches than they save time.

Weights, gradients' sums and the loss stay float32. Without the instructions
bfloat16 is emulated and slower, so it is left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch

BF16_CAPABILITIES = ("avx512_bf16", "amx_bf16")


def has_fast_bf16() -> bool:
    found: Mapping[str, object] = torch.cpu.get_capabilities()
    return any(found.get(name) for name in BF16_CAPABILITIES)


def learns_in_bf16(device: torch.device) -> bool:
    return device.type == "cpu" and has_fast_bf16()


def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=learns_in_bf16(device))


@contextlib.contextmanager
def fast_products() -> Iterator[None]:
    """TF32 in float32 products on CUDA devices, for the time of a block; CPUs have none."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if torch.cuda.is_available() else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
