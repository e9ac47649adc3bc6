"""Which tokens a masked-LM must guess: new ones every epoch, from (seed, epoch, row) alone.

Of a row's ordinary tokens 15 % are chosen, at least one. Of these 80 % become the mask,
10 % another ordinary token, 10 % stay. Source: Devlin et al. 2019; dynamic as in RoBERTa.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from edgetran_protos.errors import UsageError
from numpy.typing import NDArray
from tokenizers import Tokenizer

from edgetran_host.training.batches import Batch
from edgetran_host.training.corpus import special_frame

CHOSEN = 0.15
MASKED = 0.8  # of the chosen
REPLACED = 0.1
IGNORED = -100  # the label of a token nobody asks about; cross_entropy skips it
MASK_TOKENS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Masking:
    """A `Change` of the training loop."""

    mask_id: int
    ordinary: NDArray[np.bool_]  # (vocabulary,): neither special nor padding
    seed: int

    @staticmethod
    def of(tokenizer_json: bytes, vocab_size: int, pad_id: int, seed: int) -> Masking:
        """Raises UsageError when the tokenizer has no mask."""
        tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        known = [tokenizer.token_to_id(token) for token in MASK_TOKENS]
        mask_id = next((found for found in known if found is not None), None)
        if mask_id is None:
            raise UsageError(
                "the tokenizer has no mask token", hint=f"it needs one of {', '.join(MASK_TOKENS)}"
            )
        before, after = special_frame(tokenizer)
        added = tokenizer.get_added_tokens_decoder().items()
        special = {at for at, token in added if token.special}
        ordinary = np.ones(vocab_size, np.bool_)
        ordinary[[mask_id, pad_id, *before, *after, *special]] = False
        return Masking(mask_id, ordinary, seed)

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """labels (b, s): the token where it was chosen, IGNORED elsewhere."""
        ids = batch.input_ids.numpy().copy()
        labels = np.full_like(ids, IGNORED)
        candidates = self.ordinary[ids] & (batch.attention_mask.numpy() == 1)
        for at, row in enumerate(batch.rows):
            places = np.flatnonzero(candidates[at])
            self._mask(ids[at], labels[at], places, np.random.default_rng((self.seed, epoch, row)))
        return dataclasses.replace(
            batch, input_ids=torch.from_numpy(ids), labels=torch.from_numpy(labels)
        )

    def _mask(
        self,
        ids: NDArray[np.int64],
        labels: NDArray[np.int64],
        places: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        """One row, in place."""
        count = min(len(places), max(1, round(CHOSEN * len(places))))
        chosen = rng.permutation(places)[:count]
        labels[chosen] = ids[chosen]
        lot = rng.random(count)
        ids[chosen[lot < MASKED]] = self.mask_id
        replaced = chosen[(lot >= MASKED) & (lot < MASKED + REPLACED)]
        ids[replaced] = rng.choice(np.flatnonzero(self.ordinary), len(replaced))
