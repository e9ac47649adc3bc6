"""Model and masked-LM head as one module: holes in, loss out.

b rows, L positions, k tokens asked for in a row, h the last layer's width, V words.
    states (b, L, h) -> those asked for (b * k, h) -> logits (b * k, V) -> cross entropy
All shapes are fixed and nothing is read back, so a GPU never waits for the CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetran_host.models.text_model import TextModel
from edgetran_host.pretraining.masked_words import MaskedWords
from edgetran_host.pretraining.masking import IGNORED


class MaskedLearner(nn.Module):
    def __init__(self, model: TextModel, head: MaskedWords) -> None:
        super().__init__()
        self.model, self.head = model, head
        for module in (model.classifier, model.pooler):  # nothing here asks them
            if module is not None:
                module.requires_grad_(False)

    def forward(self, ids: Tensor, places: Tensor, labels: Tensor) -> Tensor:
        """ids (b, L), places and labels (b, k) -> the sum of losses, float32."""
        real = torch.ones_like(ids)
        states = self.model.hidden_states(ids, real, torch.zeros_like(ids))[-1]
        rows = torch.arange(len(ids), device=ids.device)[:, None] * ids.shape[1]
        asked = states.flatten(0, 1).index_select(0, (places + rows).flatten())
        logits = self.head(asked).float()
        return F.cross_entropy(logits, labels.flatten(), reduction="sum", ignore_index=IGNORED)
