"""A permutation of any size that takes no memory: which window stands at which place.

A Feistel cipher of four rounds permutes the numbers of 2w bits, the least even number of
bits that holds all windows; what falls beyond the last window is sent through again until
it does not, at most four times as often on average. Place and key alone decide, so a run
that is resumed finds its windows without replaying the order.
    (a, b) -> (b, a xor hash(b, key_r)) in round r, a and b of w bits
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 4
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, as splitmix64 has it
HIGH_BITS = np.uint64(29)

Numbers = NDArray[np.uint64]


def shuffled(places: NDArray[np.int64], count: int, *key: int) -> NDArray[np.int64]:
    """places (k,) of 0 .. count-1 -> as many others of them, no two alike."""
    width = max(1, -(-(count - 1).bit_length() // 2))
    keys = np.random.default_rng(key).integers(0, 2**63, ROUNDS, dtype=np.uint64)
    found = _ciphered(places.astype(np.uint64), width, keys)
    beyond = found >= count
    while beyond.any():
        found[beyond] = _ciphered(found[beyond], width, keys)
        beyond = found >= count
    return found.astype(np.int64)


def _ciphered(numbers: Numbers, width: int, keys: Numbers) -> Numbers:
    shift, low = np.uint64(width), np.uint64((1 << width) - 1)
    a, b = numbers >> shift, numbers & low
    for key in keys:
        mixed = (b + key) * MULTIPLIER  # modulo 2^64
        mixed = (mixed ^ (mixed >> HIGH_BITS)) * MULTIPLIER
        a, b = b, a ^ ((mixed >> HIGH_BITS) & low)
    joined: Numbers = (a << shift) | b
    return joined
