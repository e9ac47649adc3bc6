"""The head that names masked words; no part of the model.

    Linear(h, h) -> GELU -> LayerNorm -> Linear(h, V) + bias, not tied to the embedding
Source: the method's specification, 2.2 and 2.5.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetran_host.models.config import ModelConfig
from edgetran_host.models.heads import INIT_STD


class MaskedWords(nn.Module):
    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        width = config.architecture.layers[-1].hidden
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.dense = nn.Linear(width, width)
            self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
            self.decoder = nn.Linear(width, config.vocab_size)
            for linear in (self.dense, self.decoder):
                nn.init.normal_(linear.weight, std=INIT_STD)
                nn.init.zeros_(linear.bias)

    def forward(self, states: Tensor) -> Tensor:
        """(n, h) -> (n, V)."""
        found: Tensor = self.decoder(self.norm(F.gelu(self.dense(states))))
        return found
