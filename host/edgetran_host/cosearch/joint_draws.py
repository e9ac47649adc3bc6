"""What pairs may give, drawn for all of them together from a search's models.

Like pairs are off alike, so what they differ by is known better than what each of them gives;
a design has one score on all its boards. Where costs are sums of work without a process on
top, all pairs of a place are off by the same number of deviations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgetran_host.cosearch.outputs import OUTPUTS, Belief, OutputModels
from edgetran_host.cosearch.pair import Pair


def draw_together(
    models: OutputModels, pairs: Sequence[Pair], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (count, n) and costs (count, n, 4); NaN where not given or not modelled."""
    belief = models.believe(pairs)
    drawn = np.repeat(belief.mean[None], count, axis=0)  # (count, n, outputs)
    places = np.unique([pair.place.id for pair in pairs], return_inverse=True)[1]
    for output in range(OUTPUTS):
        if output in models.processes:
            process, rows = models.processes[output], models.rows_of(output, pairs)
            unlike, back = np.unique(rows, axis=0, return_inverse=True)
            normal = rng.standard_normal((count, len(unlike)))
            drawn[..., output] += process.draw_off(unlike, normal)[:, back.ravel()]
        elif np.isfinite(belief.deviation[:, output]).all():
            shared = rng.standard_normal((count, len(set(places))))[:, places]
            drawn[..., output] += shared * belief.deviation[:, output]
    return models.outcomes(Belief(drawn, np.zeros(drawn.shape)), np.zeros((1, OUTPUTS)))
