"""Edits that leave the layers as they are: vocabulary, embeddings, runtime and precision.

On a small model the embedding's table is most of the bytes, and a text needs few of its rows. A
vocabulary is cut to the pieces that the task's texts use most, or trained anew on them, with
rows that start as the mean of the pieces they are spelt with. Or the table gets narrower, with a
projection behind it, started by singular values.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgetran_host.refine.proposals import (
    CHANGE_PRECISION,
    MULTIPLE,
    NARROW_EMBEDDING,
    PRUNE_VOCABULARY,
    Proposal,
)
from edgetran_host.space.architecture import Architecture
from edgetran_host.transfer.growth import Edit
from edgetran_host.transfer.weight_map import WeightMap
from edgetran_host.vocabulary import can_trim, fewest_pieces

SHARES = (0.75, 0.5)  # of the present vocabulary
TABLE_SHARES = (0.5, 0.25)  # of the first hidden size
LEAST_PIECES = 1000  # below that words are spelt letter by letter


def cut_vocabulary(parent: Architecture, tokenizer_json: bytes, pieces: int) -> list[Proposal]:
    """pieces: of the present vocabulary."""
    if not can_trim(tokenizer_json):
        return []
    least = max(LEAST_PIECES, fewest_pieces(tokenizer_json))
    sizes = [size for size in (int(pieces * share) for share in SHARES) if size >= least]
    edit = _as_it_is(parent)
    found = [
        Proposal(PRUNE_VOCABULARY, f"vocabulary {pieces} to {size} pieces", edit, pieces=size)
        for size in sizes
    ]
    found += [
        Proposal(
            PRUNE_VOCABULARY,
            f"vocabulary {pieces} to {size} new pieces",
            edit,
            pieces=size,
            new_pieces=True,
        )
        for size in sizes[-1:]
    ]
    return found


def narrow_embedding(parent: Architecture, present: int | None) -> list[Proposal]:
    """present: width of embeddings that are factorised already, which is done once."""
    hidden = parent.layers[0].hidden
    widths = [] if present else [int(hidden * share) for share in TABLE_SHARES]
    return [
        Proposal(NARROW_EMBEDDING, f"embeddings to {width}", _as_it_is(parent), table_width=width)
        for width in (width - width % MULTIPLE for width in widths)
        if width >= MULTIPLE
    ]


def change_precision(
    parent: Architecture, present: tuple[str, str], known: Sequence[tuple[str, str]]
) -> list[Proposal]:
    """present, known: runtime and precision, of the model and all of its target."""
    return [
        Proposal(CHANGE_PRECISION, f"{variant[0]} {variant[1]}", _as_it_is(parent), variant=variant)
        for variant in known
        if variant != present
    ]


def _as_it_is(parent: Architecture) -> Edit:
    return Edit(parent, WeightMap.identity(parent))
