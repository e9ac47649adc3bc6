"""A packed model becomes a release: what it promises, and its place after earlier ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from edgetran_protos.bundle import (
    CARD_MINOR,
    CARD_SCHEMA,
    MEDIA_CARD,
    Bundle,
    Claim,
    write_bundle,
)


def as_release(bundle: Bundle, claims: Sequence[Claim], sequence: int, path: Path) -> Bundle:
    """The same files with these promises on the card, written to `path`.

    sequence: larger than that of every earlier release; seconds since 1970 are.
    """
    layers = bundle.blobs[1:]  # the first is the config
    files = {
        blob.file: (blob.media_type, bundle.read(blob.digest))
        for blob in layers
        if blob.media_type != MEDIA_CARD
    }
    card = dataclasses.replace(
        bundle.card,
        claims=list(claims),
        sequence=sequence,
        schema=CARD_SCHEMA,
        minor=CARD_MINOR,
    )
    return write_bundle(path, card, files)
