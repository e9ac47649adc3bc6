"""The network: an encoder of any architecture, a pooling and a classifier.

b batch, s sequence, h hidden (of the layer at hand), L the configured length.
    x = LN(E_word[id] + E_position[place] + E_type[type])
    layer:  x = LN(x + Drop(heads(x)·Wo + bo))
            u = x;  u = GELU(Lin_i(u)) for the stack;  x = LN(x + Drop(Lin_out(u)))
            x = Lin_proj(x) where the next layer has another width
E_position is there only with absolute positions. With an embedding width e below h the
tables and their LN have width e, and x = Lin_e(LN(...)) leads to the first layer.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
import torch.nn.functional as F
from edgetran_protos.errors import InputError
from torch import Tensor, nn

from edgetran_host.models.config import ModelConfig
from edgetran_host.models.dropout import Dropout
from edgetran_host.models.heads import INIT_STD, MASKED, PADDED, Heads
from edgetran_host.models.layout import Layout, Ragged
from edgetran_host.space.architecture import Layer

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "gelu": F.gelu}


class Embedding(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.table_width
        self.word = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_id)
        self.position = None
        if config.positions == "absolute":
            self.position = nn.Embedding(config.max_positions, width)
        self.token_type = nn.Embedding(config.type_vocab_size, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.dropout)
        self.project: nn.Linear | None = None
        if config.embedding_width is not None:
            self.project = nn.Linear(width, config.architecture.layers[0].hidden)

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor, places: Tensor | None = None
    ) -> Tensor:
        """(b, s), (b, s) -> (b, s, h), at places 0, 1, ... of a row; or (t,) thrice -> (t, h)."""
        if self.token_type.num_embeddings == 1:
            token_type_ids = token_type_ids.clamp(max=0)  # such models do not tell pairs apart
        x = self.word(input_ids) + self.token_type(token_type_ids)
        if self.position is not None:
            x = x + (
                self.position.weight[: input_ids.shape[1]]
                if places is None
                else self.position(places)
            )
        y: Tensor = self.dropout(self.norm(x))
        if self.project is not None:
            y = self.project(y)
        return y


class Block(nn.Module):
    """One layer; `project` is there only where the next layer has another width."""

    def __init__(self, config: ModelConfig, layer: Layer, next_hidden: int) -> None:
        super().__init__()
        self.heads = Heads(
            layer,
            config.positions,
            config.max_positions,
            config.sequence_length,
            config.lt_scale,
            config.dropout,
            config.legacy_sa_zero,
        )
        self.heads_out = nn.Linear(layer.attention_width, layer.hidden)
        self.heads_norm = nn.LayerNorm(layer.hidden, eps=config.layer_norm_eps)
        widths = (layer.hidden, *layer.feed_forward)
        self.stack = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.stack_out = nn.Linear(widths[-1], layer.hidden)
        self.stack_norm = nn.LayerNorm(layer.hidden, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.dropout)
        self.project: nn.Linear | None = None
        if next_hidden != layer.hidden:
            self.project = nn.Linear(layer.hidden, next_hidden)

    def forward(
        self,
        x: Tensor,
        masked: Tensor,
        layout: Layout = PADDED,
        *,
        first_only: bool = False,
    ) -> Tensor:
        """x (b, s, h), masked (b, 1, 1, s) -> (b, s, next layer's h), or every row's first."""
        asking = layout.firsts(x) if first_only else None
        found = self.heads(x, masked, layout, asking)
        x = x if asking is None else asking[0]
        x = self.heads_norm(x + self.dropout(self.heads_out(found)))
        u = x
        for linear in self.stack:
            u = F.gelu(linear(u))
        x = self.stack_norm(x + self.dropout(self.stack_out(u)))
        y: Tensor = x if self.project is None else self.project(x)
        return y


class TextModel(nn.Module):
    """Token ids to logits; weights start random unless loaded."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        layers = config.architecture.layers
        following = [layer.hidden for layer in layers[1:]] + [layers[-1].hidden]
        self.embedding = Embedding(config)
        self.layers = nn.ModuleList(
            Block(config, layer, width) for layer, width in zip(layers, following)
        )
        last = layers[-1].hidden
        self.pooler = nn.Linear(last, last) if config.pooling == "cls" else None
        self.dropout = Dropout(config.dropout)
        self.classifier = nn.Linear(last, config.outputs)
        self._fixed_length = any(
            not kind.startswith("sa_") for layer in layers for kind in layer.heads
        )
        self.apply(_initialise)

    @property
    def blocks(self) -> list[Block]:
        """`layers`, typed."""
        return cast("list[Block]", list(self.layers))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        *,
        ragged: bool = False,
    ) -> Tensor:
        """Each (b, s) int64 -> logits (b, outputs).

        Tokens of the last layer that a `cls` pooler does not look at are left out where
        that is possible. With `ragged` the same logits but for rounding, without padding.
        """
        if ragged and self._may_be_ragged(input_ids):
            return self._ragged_logits(input_ids, attention_mask, token_type_ids)
        return self._padded_logits(*self._padded(input_ids, attention_mask, token_type_ids))

    def hidden_states(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        *,
        ragged: bool = False,
    ) -> list[Tensor]:
        """(b, s, h) after the embedding and after every layer, projections included.

        With `ragged`, padding holds anything.
        """
        if ragged and self._may_be_ragged(input_ids):
            self._check_length(input_ids)
            layout = Ragged(attention_mask)
            x, masked = self._embedded(input_ids, attention_mask, token_type_ids, layout)
            states = [x]
            for block in self.blocks:
                states.append(block(states[-1], masked, layout))
            return [layout.spread(x) for x in states]
        padded = self._padded(input_ids, attention_mask, token_type_ids)
        return [x[:, : input_ids.shape[1]] for x in self._encode(*padded)]

    def _may_be_ragged(self, input_ids: Tensor) -> bool:
        """CUDA devices pad: there the indices cost more than the padding that they spare."""
        return not (self._fixed_length or input_ids.is_cuda)

    def classify(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """The last hidden state (b, s, h) and its mask (b, s) -> logits (b, outputs)."""
        if self.pooler is not None:
            return self._classify_first(x[:, 0])
        real = attention_mask.to(x.dtype).unsqueeze(-1)
        pooled = (x * real).sum(1) / real.sum(1).clamp(min=1.0)
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits

    def _classify_first(self, x: Tensor) -> Tensor:
        """(b, h) -> (b, outputs)."""
        assert self.pooler is not None
        pooled = ACTIVATIONS[self.config.pooler_activation](self.pooler(x))
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits

    def _padded_logits(self, input_ids: Tensor, mask: Tensor, token_type_ids: Tensor) -> Tensor:
        x = self.embedding(input_ids, token_type_ids)
        masked = _added(mask, x)
        *before, last = self.blocks
        for block in before:
            x = block(x, masked)
        if self.pooler is None:
            return self.classify(last(x, masked), mask)
        return self.classify(last(x, masked, first_only=True), mask)

    def merged(self) -> TextModel:
        """A copy in which the heads of a layer read one matrix; see `Heads.merge`."""
        copied = copy.deepcopy(self)
        for block in copied.blocks:
            last = block is copied.blocks[-1]
            block.heads.merge(last and self.pooler is not None and block.heads.asks_by_content)
        return copied

    def _ragged_logits(self, input_ids: Tensor, mask: Tensor, token_type_ids: Tensor) -> Tensor:
        self._check_length(input_ids)
        layout = Ragged(mask)
        x, masked = self._embedded(input_ids, mask, token_type_ids, layout)
        *before, last = self.blocks
        for block in before:
            x = block(x, masked, layout)
        if self.pooler is None or self.config.positions == "relative":
            return self.classify(layout.spread(last(x, masked, layout)), mask)
        return self._classify_first(last(x, masked, layout, first_only=True))

    def _embedded(
        self, input_ids: Tensor, mask: Tensor, token_type_ids: Tensor, layout: Ragged
    ) -> tuple[Tensor, Tensor]:
        """(t, h), and what is added to scores (b, 1, 1, s)."""
        taken = layout.take(input_ids), layout.take(token_type_ids), layout.positions
        x = self.embedding(*taken)
        return x, _added(mask, x)

    def _encode(self, input_ids: Tensor, mask: Tensor, token_type_ids: Tensor) -> list[Tensor]:
        x = self.embedding(input_ids, token_type_ids)
        masked = _added(mask, x)
        states = [x]
        for block in self.layers:
            states.append(block(states[-1], masked))
        return states

    def _padded(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs at length L where a head kind depends on the padded length.

        Transforms and convolutions read padding, so their results are only
        comparable at one length; dot-product heads may run shorter, and faster.
        """
        self._check_length(input_ids)
        length, wanted = input_ids.shape[1], self.config.sequence_length
        if length == wanted or not self._fixed_length:
            return input_ids, attention_mask, token_type_ids
        missing = (0, wanted - length)
        return (
            F.pad(input_ids, missing, value=self.config.pad_id),
            F.pad(attention_mask, missing),
            F.pad(token_type_ids, missing),
        )

    def _check_length(self, input_ids: Tensor) -> None:
        length, wanted = input_ids.shape[1], self.config.sequence_length
        if length > wanted:
            raise InputError(
                f"{length} tokens do not fit a model of sequence length {wanted}",
                hint=f"truncate the inputs to {wanted} tokens",
            )


def _added(mask: Tensor, x: Tensor) -> Tensor:
    """mask (b, s) -> (b, 1, 1, s) for scores."""
    return ((1.0 - mask.to(x.dtype)) * MASKED)[:, None, None, :]


def _initialise(module: nn.Module) -> None:
    """Normal weights and zero biases, as BERT starts."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight[module.padding_idx])
