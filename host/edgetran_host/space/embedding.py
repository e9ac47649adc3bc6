"""An architecture as a short row of whole numbers, for samplers and older data files.

With up to 12 layers there are 37 numbers, all of them indices:
    e[0]       which layer count
    e[3j+1]    layer j: which hidden size
    e[3j+2]    layer j: which feed-forward stack
    e[3j+3]    layer j: which multiset of heads
and zeros after the last layer. Shallow stacks come before deep ones, small head
sets before large ones; within a depth the stack is a number whose first width is
the most significant digit, within a head count the multisets go by rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import index

from edgetran_protos.errors import ArchitectureError

from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.head_sets import count_head_sets, head_set_at, rank_head_set


def embed(architecture: Architecture, space: DesignSpace) -> tuple[int, ...]:
    """Raises ArchitectureError when the architecture is off the lattice."""
    space.validate(architecture)
    numbers = [space.layer_counts.index(len(architecture.layers))]
    for layer in architecture.layers:
        numbers += (
            space.hidden_sizes.index(layer.hidden),
            _stack_index(layer.feed_forward, space),
            _head_index(layer.heads, space),
        )
    return tuple(numbers) + (0,) * (space.embedding_length - len(numbers))


def decode(embedding: Sequence[int], space: DesignSpace) -> Architecture:
    """The inverse of `embed`; raises ArchitectureError for a row that is no embedding."""
    numbers = _whole_numbers(embedding, space)
    for place, (number, limit) in enumerate(zip(numbers, index_limits(space))):
        if not 0 <= number < limit:
            raise ArchitectureError(f"embedding[{place}] is {number}, must be 0 to {limit - 1}")
    used = _used(numbers, space)
    if any(numbers[used:]):
        raise ArchitectureError(
            f"embedding has numbers after its last layer, from place {used} on",
            hint="nearest_valid() zeroes them",
        )
    layers = (_layer(numbers[start : start + 3], space) for start in range(1, used, 3))
    return Architecture(tuple(layers))


def nearest_valid(embedding: Sequence[int], space: DesignSpace) -> tuple[int, ...]:
    """A new row: indices moved into their range, zeros after the last layer."""
    clipped = tuple(
        min(max(number, 0), limit - 1)
        for number, limit in zip(_whole_numbers(embedding, space), index_limits(space))
    )
    used = _used(clipped, space)
    return clipped[:used] + (0,) * (len(clipped) - used)


def stack_offset(depth: int, space: DesignSpace) -> int:
    """The index of the first stack of that depth."""
    shallower = (other for other in space.feed_forward_depths if other < depth)
    return sum(len(space.feed_forward_widths) ** other for other in shallower)


def head_offset(heads: int, space: DesignSpace) -> int:
    """The index of the first set of that many heads."""
    smaller = (other for other in space.head_counts if other < heads)
    return sum(count_head_sets(other, len(space.head_kinds)) for other in smaller)


def index_limits(space: DesignSpace) -> tuple[int, ...]:
    """How many values each place of an embedding can take."""
    a_layer = (len(space.hidden_sizes), space.stack_count, space.head_set_count)
    return (len(space.layer_counts), *a_layer * space.layer_counts[-1])


def _used(numbers: Sequence[int], space: DesignSpace) -> int:
    return 1 + 3 * space.layer_counts[numbers[0]]


def _whole_numbers(embedding: Sequence[int], space: DesignSpace) -> tuple[int, ...]:
    if len(embedding) != space.embedding_length:
        raise ArchitectureError(
            f"an embedding in {space.name} has {space.embedding_length} numbers,"
            f" got {len(embedding)}"
        )
    try:
        return tuple(index(number) for number in embedding)  # takes NumPy's integers too
    except TypeError as exc:
        raise ArchitectureError(f"an embedding holds whole numbers only: {exc}") from exc


def _stack_index(stack: Sequence[int], space: DesignSpace) -> int:
    number = 0
    for width in stack:
        number = number * len(space.feed_forward_widths) + space.feed_forward_widths.index(width)
    return stack_offset(len(stack), space) + number


def _stack(stack_index: int, space: DesignSpace) -> tuple[int, ...]:
    depth = _last_at(stack_index, space.feed_forward_depths, lambda d: stack_offset(d, space))
    number = stack_index - stack_offset(depth, space)
    widths = []
    for _ in range(depth):
        number, digit = divmod(number, len(space.feed_forward_widths))
        widths.append(space.feed_forward_widths[digit])
    return tuple(reversed(widths))


def _head_index(heads: Iterable[str], space: DesignSpace) -> int:
    ranked = sorted(space.head_kinds.index(kind) for kind in heads)
    return head_offset(len(ranked), space) + rank_head_set(ranked, len(space.head_kinds))


def _heads(head_index: int, space: DesignSpace) -> tuple[str, ...]:
    count = _last_at(head_index, space.head_counts, lambda n: head_offset(n, space))
    rank = head_index - head_offset(count, space)
    return tuple(space.head_kinds[kind] for kind in head_set_at(rank, count, len(space.head_kinds)))


def _last_at(position: int, sizes: Sequence[int], offset: Callable[[int], int]) -> int:
    """The largest size whose block starts at or before `position`."""
    return max(size for size in sizes if offset(size) <= position)


def _layer(indices: Sequence[int], space: DesignSpace) -> Layer:
    hidden_index, stack_index, head_index = indices
    hidden = space.hidden_sizes[hidden_index]
    heads = _heads(head_index, space)
    return Layer(hidden, heads, space.head_size(hidden, len(heads)), _stack(stack_index, space))
