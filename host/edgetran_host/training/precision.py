"""bfloat16 for the matrix products of training, where the CPU has instructions for it.

Weights, gradients' sums and the loss stay float32. Without the instructions
bfloat16 is emulated and slower, so it is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

BF16_CAPABILITIES = ("avx512_bf16", "amx_bf16")


def has_fast_bf16() -> bool:
    found: Mapping[str, object] = torch.cpu.get_capabilities()
    return any(found.get(name) for name in BF16_CAPABILITIES)


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16())
