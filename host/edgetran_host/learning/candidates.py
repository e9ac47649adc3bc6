"""What a learner may ask for: designs drawn as those that it shall foretell.

Designs at the edges of a space (one layer repeated, heads of one kind) tell costs apart, but
measured in place of these they cost more measurements than they saved (docs/benchmarks.md).
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
    drawn = sample(space, count, np.random.default_rng(seed))
    return tuple({architecture_id(design): design for design in drawn}.values())
