"""Distillation of a teacher's inside: its hidden states and its relations among positions.

b batch, s sequence, h and H widths of student and teacher, r relation heads.
    hidden     mean over real positions of |x·W - y|² / |y|², over matched layers
               W (h, H) is learned where h ≠ H, and dropped afterwards; else it is none
    relations  R(x) = softmax(x_r·x_rᵀ / sqrt(h / r)) over real positions, x cut into r heads
               mean over real positions and heads of KL(R(y) || R(x)), last layer
Relations need no equal widths and no attention, so every kind of head can be taught.
Source: Jiao et al. 2020 (hidden states); Wang et al. 2021, MiniLMv2 (relations), there
among queries, keys and values, here among hidden states, which every layer has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetran_host.models.heads import MASKED
from edgetran_host.models.text_model import TextModel
from edgetran_host.training.batches import Batch
from edgetran_host.training.objective import Loss, Objective
from edgetran_host.training.precision import autocast
from edgetran_host.training.teacher_states import TeacherStates

RELATION_HEADS = 12  # at most; so many must divide both widths


class Matching(Objective):
    """The loss on logits, and how far the student's inside is from the teacher's."""

    def __init__(
        self,
        on_logits: Loss,
        states: TeacherStates,
        widths: Sequence[tuple[int, int]],
        hidden_weight: float,
        relation_weight: float,
        evidence: Sequence[NDArray[np.generic]] = (),
    ) -> None:
        """widths (h, H) of the last layers, as many as `states` has."""
        super().__init__()
        self._on_logits, self._states, self._evidence = on_logits, states, evidence
        self._hidden_weight, self._relation_weight = hidden_weight, relation_weight
        self.maps = nn.ModuleList(
            nn.Identity() if h == wanted else nn.Linear(h, wanted, bias=False)
            for h, wanted in (widths if hidden_weight else ())
        )

    def forward(self, model: TextModel, batch: Batch) -> Tensor:
        with autocast(batch.input_ids.device):
            states = model.hidden_states(
                batch.input_ids, batch.attention_mask, batch.token_type_ids, ragged=True
            )
            logits = model.classify(states[-1], batch.attention_mask)
        loss = self._on_logits(logits.float(), batch)
        taught = self._states.of(batch)
        if self._hidden_weight:
            pairs = zip(self.maps, states[-len(taught) :], taught)
            distances = [
                hidden_distance(to_teacher(x.float()), y, batch.attention_mask)
                for to_teacher, x, y in pairs
            ]
            loss = loss + self._hidden_weight * torch.stack(distances).mean()
        if self._relation_weight:
            distance = relation_distance(states[-1].float(), taught[-1], batch.attention_mask)
            loss = loss + self._relation_weight * distance
        return loss

    def evidence(self) -> Sequence[NDArray[np.generic]]:
        return self._evidence


def hidden_distance(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """x, y (b, s, H), mask (b, s): relative squared error, each row counting alike."""
    apart = (x - y).square().sum(-1) / y.square().sum(-1).clamp(min=1e-6)  # (b, s)
    return _over_rows(apart, mask)


def relation_distance(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """x (b, s, h), y (b, s, H), mask (b, s): divergence of relations, each row counting alike."""
    heads = relation_heads(x.shape[2], y.shape[2])
    known = _relations(x, heads, mask)
    wanted = _relations(y, heads, mask)
    apart = (wanted.exp() * (wanted - known)).sum(-1).mean(1)  # (b, s)
    return _over_rows(apart, mask)


def relation_heads(*widths: int) -> int:
    shared = math.gcd(*widths)
    return max(count for count in range(1, RELATION_HEADS + 1) if shared % count == 0)


def _relations(x: Tensor, heads: int, mask: Tensor) -> Tensor:
    """(b, s, h) -> logarithms (b, r, s, s)."""
    parts = x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)  # (b, r, s, h / r)
    scores = parts @ parts.transpose(2, 3) / math.sqrt(parts.shape[-1])
    return F.log_softmax(scores + (1 - mask[:, None, None].to(x.dtype)) * MASKED, dim=-1)


def _over_rows(values: Tensor, mask: Tensor) -> Tensor:
    """(b, s) -> the mean over each row's real positions, then over rows."""
    real = mask.to(values.dtype)
    return ((values * real).sum(1) / real.sum(1)).mean()
