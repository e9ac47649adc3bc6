"""The designs around a pretrained seed, layer by layer: what its weights can be cut down to.

Hidden and head size stay the seed's, so that a design's weights are exactly some of the
seed's; layers, heads and feed-forward neurons become fewer, in each layer by itself. The
seed is the largest design of its space.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgetran_protos.errors import ArchitectureError

from edgetran_host.models.config import ModelConfig
from edgetran_host.search.seeded_space import SeededSpace
from edgetran_host.space.architecture import HEAD_KINDS
from edgetran_host.space.design_space import DesignSpace


def space_around(seed: ModelConfig, name: str, more_kinds: Sequence[str] = ()) -> DesignSpace:
    """more_kinds: of heads beside the seed's own; such heads start without weights of the seed.

    Raises ArchitectureError for a seed whose layers differ in hidden or head size.
    """
    tied, layers = SeededSpace.around(seed), seed.architecture.layers
    layer = layers[0]
    if {(each.hidden, each.head_size) for each in layers} != {(layer.hidden, layer.head_size)}:
        raise ArchitectureError(
            f"{name}: its layers differ in hidden or head size, which a search keeps",
            hint="choose a seed of one hidden and one head size, or `edgetran deploy`",
        )
    unknown = set(more_kinds) - set(HEAD_KINDS)
    if unknown:
        raise ArchitectureError(
            f"{', '.join(sorted(unknown))} is no kind of head",
            hint=f"the known kinds are {', '.join(HEAD_KINDS)}",
        )
    kinds = {kind for each in layers for kind in each.heads} | set(more_kinds)
    counts = {len(each.heads) for each in layers}
    widths = {width for each in layers for width in each.feed_forward}
    return DesignSpace(
        name=name,
        layer_counts=tied.layers,
        hidden_sizes=(layer.hidden,),
        head_counts=tuple(sorted({*tied.heads, *counts})),
        head_kinds=tuple(kind for kind in HEAD_KINDS if kind in kinds),
        feed_forward_widths=tuple(sorted({*tied.feed_forward, *widths})),
        feed_forward_depths=tuple(sorted({len(each.feed_forward) for each in layers})),
        head_sizes=(layer.head_size,),
    )
