"""The published measurements by board and campaign, and the published way to foretell them.

The published surrogate is AdaBoost.R2 (Drucker, 1997) on unpruned regression trees: 500 trees,
linear loss, learning rate 1, on the design's 37 indices. Its targets were divided by a maximum,
which changes nothing: trees split alike at every scale, and the loss is relative to its largest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.embedding import embed
from edgetran_host.surrogates.rows import MEASURES, Rows, read_rows

TREES = 500
MEAN_OVER_MEDIAN = 1.183  # of the sizes of normal errors
SETS = {
    "A100 template": "campaign-2022-04/gpu-a100-template.json",
    "A100 April": "campaign-2022-04/gpu-a100.json",
    "A100 main": "gpu-a100.json",
    "Pi April": "campaign-2022-04/cpu-rpi4.json",
    "Pi main": "cpu-rpi4.json",
    "M1 GPU April": "campaign-2022-04/gpu-m1-pro.json",
    "M1 GPU main": "gpu-m1-pro.json",
    "M1 CPU April": "campaign-2022-04/cpu-m1-pro.json",
    "M1 CPU main": "cpu-m1-pro.json",
    "Nano CPU April": "campaign-2022-04/cpu-jetson-nano.json",
    "Nano CPU main": "cpu-jetson-nano.json",
    "NCS2": "npu-ncs2.json",
    "Nano GPU": "gpu-jetson-nano.json",
}
TWICE = {  # campaigns of one board that measured some designs both
    "A100": ("A100 April", "A100 main"),
    "Pi": ("Pi April", "Pi main"),
    "M1 GPU": ("M1 GPU April", "M1 GPU main"),
    "M1 CPU": ("M1 CPU April", "M1 CPU main"),
    "Nano CPU": ("Nano CPU April", "Nano CPU main"),
}


@dataclass(frozen=True)
class Published:
    """One campaign of one board."""

    rows: Rows
    indices: np.ndarray  # (n, 37) what the published surrogates see of a design


def read_set(data: Path, name: str) -> Published:
    path = data / SETS[name]
    space = DesignSpace.flexibert2()
    designs = [Architecture.from_dict(row["architecture"]) for row in json.loads(path.read_text())]
    return Published(
        read_rows([path]), np.array([embed(one, space) for one in designs], dtype=float)
    )


def published_way(
    train: Published, held: Published, trees: int, seed: int
) -> Mapping[str, np.ndarray]:
    """Each measure of the held-out rows (n,) by the published surrogate of the others."""
    from sklearn.ensemble import AdaBoostRegressor
    from sklearn.tree import DecisionTreeRegressor

    found = {}
    for name in MEASURES:
        boosted = AdaBoostRegressor(
            DecisionTreeRegressor(),
            n_estimators=trees,
            loss="linear",
            learning_rate=1.0,
            random_state=seed,
        )
        found[name] = boosted.fit(train.indices, train.rows.measures[name]).predict(held.indices)
    return found


def take(whole: Published, index: np.ndarray) -> Published:
    return Published(whole.rows.take(index), whole.indices[index])


def repeat_scatter(one: Rows, two: Rows, measure: str) -> tuple[float, int]:
    """The mean error of one measurement that normal noise would have, and of how many designs.

    By the designs that both campaigns measured: the log ratio, less what the campaigns differ
    by as a whole (its median), over sqrt(2); its median size, for some rows are wrong. A model
    can err by less only where it knows what changed in between, drift for one.
    """
    first = dict(zip(one.ids, one.measures[measure]))
    ratios = np.array(
        [
            np.log(first[identity] / value)
            for identity, value in zip(two.ids, two.measures[measure])
            if identity in first
        ]
    )
    middle = np.median(np.abs(ratios - np.median(ratios))) / np.sqrt(2)
    return float(MEAN_OVER_MEDIAN * middle), len(ratios)
