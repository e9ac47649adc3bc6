"""What a learner may ask for: designs like those to be foretold, and designs at the edges.

Layers drawn one by one average each other out; repeated ones tell the costs apart.
"""

from __future__ import annotations

import numpy as np

from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.identity import architecture_id
from edgetran_host.space.sampling import sample

COUNT = 256


def candidates(space: DesignSpace, seed: int, count: int = COUNT) -> tuple[Architecture, ...]:
    """At most `count` distinct ones; the same for the same seed."""
    rng = np.random.default_rng(seed)
    drawn = sample(space, count - count // 2, rng) + sample(space, count // 2, rng, "repeated")
    return tuple({architecture_id(design): design for design in drawn}.values())
