"""Which tokens a masked-LM may be asked for, and how they are shown.

Of a row's ordinary tokens 15 % are chosen. Of these 80 % become the mask, 10 % another
ordinary token, 10 % stay. Source: Devlin et al. 2019; dynamic as in RoBERTa.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgetran_protos.errors import UsageError
from numpy.typing import NDArray
from tokenizers import Tokenizer

from edgetran_host.pretraining.documents import special_frame

CHOSEN = 0.15
MASKED = 0.8  # of the chosen
REPLACED = 0.1
IGNORED = -100  # the label of a token nobody asks about; cross_entropy skips it
MASK_TOKENS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Masking:
    """Which tokens may be asked for, and what stands for one that is."""

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
