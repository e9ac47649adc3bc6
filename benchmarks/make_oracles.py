"""Makes three assumed truths to compare searches on: friendly, hostile, unseen.

Costs are those of the surrogates that come with edgetran. Scores are assumed; what is known
of them anchors the means: GLUE of the published BERT miniatures (Turc et al., 2019,
arXiv:1908.08962, table of the release) and of BERT-Base (Devlin et al., 2019).
`friendly`: smooth in sizes and saturating shares of head kinds, so that good designs are
nearly tied. `hostile`: positions want different things, even and odd layers differ, neighbours
pair, the narrowest layer is a bottleneck, and there are thresholds. `unseen`: as unkind, but
which positions, pairings and thresholds matter, and which kinds of head, is drawn from a seed;
no search was tuned on it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from edgetran_host.cosearch.board_truth import truth_of
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.score_truth import FEATURES, TRAITS, ScoreTruth, features
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_host.surrogates.shipped import load_shipped
from scipy.optimize import nnls

ANCHORS = {  # layers, hidden size -> GLUE
    (2, 128): 0.642,  # BERT-Tiny
    (4, 256): 0.658,  # BERT-Mini
    (4, 512): 0.712,  # BERT-Small
    (8, 512): 0.735,  # BERT-Medium
    (12, 768): 0.796,  # BERT-Base
}
LOW, HIGH = 0.55, 0.86  # no design is below or above
KIND_EFFECTS = {  # of a whole layer of the kind; assumed, in the order of published ablations
    "sa_sdp": 0.60,
    "sa_wma": 0.65,
    "l_dft": 0.15,
    "l_dct": 0.20,
    "c_5": 0.35,
    "c_9": 0.45,
    "c_13": 0.40,
}
# Latency, energy: scatter of the designs that two campaigns measured; peak: the data's notes.
COST_NOISE = {
    "rpi4:cpu": (0.056, 0.155, 0.06),
    "m1:cpu": (0.122, 0.090, 0.04),
    "m1:gpu": (0.077, 0.081, 0.09),
    "a100:gpu": (0.063, 0.081, 0.17),
    "jetson-nano:cpu": (0.039, 0.040, 0.15),
}  # the NCS2 and the Nano's GPU are left out: 11 and 14 rows, no trend a search should follow
DEV_NOISE = 0.004  # about nine tasks of some 1,000 dev rows each
SEED_NOISE = 0.005  # fine-tuning seeds, mean of as many tasks
AT = {name: place for place, name in enumerate(FEATURES)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in TRUTHS.items():
        score = make()
        oracle_of(score).save(folder / f"{name}.npz")
        for (layers, hidden), known in ANCHORS.items():
            found = score.scores([bert(layers, hidden)])[0]
            print(f"{name}: BERT {layers}/{hidden} {found:.3f}, published {known:.3f}")


def oracle_of(score: ScoreTruth) -> Oracle:
    boards = truth_of({name: load_shipped(name) for name in COST_NOISE})
    noise = np.array([COST_NOISE[name] for name in boards.boards])
    return Oracle(boards, score, noise, DEV_NOISE, SEED_NOISE)


def bert(layers: int, hidden: int) -> Architecture:
    """The shape of the published miniatures, whose heads have 64 dimensions."""
    return Architecture.from_dict(
        {
            "l": layers,
            "h": [hidden] * layers,
            "o": [["sa_sdp_64"] * (hidden // 64)] * layers,
            "f": [[4 * hidden]] * layers,
        }
    )


def friendly() -> ScoreTruth:
    linear, quadratic = np.zeros(len(FEATURES)), np.zeros((len(FEATURES), len(FEATURES)))
    for kind, effect in KIND_EFFECTS.items():
        linear[AT[f"mean_{kind}_share"]] = effect
    linear[AT["mean_neurons"]] = 0.9
    linear[AT["mean_stack"]] = 0.15
    linear[AT["mean_squeeze"]] = -0.3
    linear[AT["mean_heads"]] = 0.5
    linear[AT["mean_head_size"]] = 1.6
    interactions = {
        ("mean_neurons", "mean_neurons"): -0.5,  # wider and wider gives less and less
        ("mean_head_size", "mean_head_size"): -1.6,  # best about 62 dimensions
        ("mean_heads", "mean_heads"): -0.3,
        ("depth", "mean_neurons"): -0.3,
        ("mean_width", "mean_stack"): -0.2,
        ("depth", "mean_c_9_share"): 0.3,  # local heads pay where layers are many
        ("mean_width", "mean_l_dct_share"): 0.3,
        ("mean_sa_sdp_share", "mean_c_9_share"): 0.25,
        ("mean_sa_wma_share", "mean_l_dct_share"): 0.25,
    }
    for (one, other), effect in interactions.items():
        quadratic[AT[one], AT[other]] += effect
    return anchored(linear, quadratic, np.zeros((0, len(FEATURES))), np.zeros((0, 3)))


def hostile() -> ScoreTruth:
    """The friendly one's means, and much that no mean over layers shows."""
    mild = friendly()
    linear, quadratic = mild.linear.copy(), mild.quadratic.copy()
    for name, effect in {  # times the depth: two layers have no positions to speak of
        "ends_c_5_share": 0.9,  # early layers want short convolutions
        "ends_sa_sdp_share": -0.9,  # late ones attention
        "ends_width": -0.8,
        "ends_neurons": 0.8,
        "middle_l_dft_share": -0.8,  # transforms want the middle
        "middle_head_size": 0.6,
        "parity_sa_wma_share": 0.9,  # even layers
        "parity_c_13_share": -0.9,  # odd ones
        "parity_neurons": 0.6,
        "jump_width": -0.8,
        "jump_sa_wma_share": 0.6,  # neighbours should differ in kind
        "jump_c_13_share": 0.5,
    }.items():
        quadratic[AT["depth"], AT[name]] += effect
    linear[AT["least_width"]] = 0.6  # the narrowest layer is a bottleneck
    linear[AT["least_neurons"]] = 0.5
    rng = np.random.default_rng(7)
    for _ in range(12):  # pairings of unlike features
        one, other = (
            AT[f"{rng.choice(['ends', 'parity'])}_{TRAITS[rng.integers(len(TRAITS))]}"]
            for _ in range(2)
        )
        quadratic[one, other] += rng.choice([-0.5, 0.5])
    directions, steps = np.zeros((5, len(FEATURES))), np.zeros((5, 3))
    directions[0, AT["mean_heads"]] = 1.0
    steps[0] = (0.25, 0.55, 0.04)  # height, place, width
    directions[1, AT["least_neurons"]] = 1.0
    steps[1] = (0.2, -0.2, 0.03)
    directions[2, [AT["mean_sa_sdp_share"], AT["mean_sa_wma_share"]]] = 1.0
    steps[2] = (0.3, 0.5, 0.04)  # too little attention costs at once
    directions[3, [AT["depth"], AT["mean_width"]]] = 1.0, -1.0
    steps[3] = (-0.25, 0.45, 0.05)  # deep and narrow does not train
    directions[4, AT["depth"]] = 1.0
    steps[4] = (0.6, 0.6, 0.1)  # four layers and fewer compose too little
    return anchored(linear, quadratic, directions, steps)


def unseen() -> ScoreTruth:
    """The friendly one's sizes; all that distinguishes kinds and positions is drawn."""
    rng = np.random.default_rng(20261126)
    mild = friendly()
    linear, quadratic = mild.linear.copy(), mild.quadratic.copy()
    effects = rng.permutation(list(KIND_EFFECTS.values()))
    for kind, effect in zip(KIND_EFFECTS, effects):
        linear[AT[f"mean_{kind}_share"]] = effect
    pools = ("ends", "middle", "parity", "jump")
    names = [f"{pool}_{trait}" for pool in pools for trait in TRAITS]
    for name in rng.choice(names, 14, replace=False):  # times the depth, as in the hostile one
        quadratic[AT["depth"], AT[name]] += rng.choice([-1, 1]) * rng.uniform(0.5, 1.0)
    for trait in rng.choice(TRAITS[:6], 2, replace=False):
        linear[AT[f"least_{trait}"]] = 0.5
    for _ in range(16):  # pairings of unlike features, means among them
        one, other = (
            AT[f"{rng.choice(['mean', 'ends', 'middle', 'parity'])}_{rng.choice(TRAITS)}"]
            for _ in range(2)
        )
        quadratic[one, other] += rng.choice([-0.5, 0.5])
    directions, steps = np.zeros((7, len(FEATURES))), np.zeros((7, 3))
    directions[6, AT["depth"]], steps[6] = 1.0, (0.6, 0.6, 0.1)  # few layers compose too little
    drawn = features(sample(DesignSpace.flexibert2(), 300, rng))
    for at in range(6):  # thresholds where random designs stand on both sides
        chosen = rng.choice(len(FEATURES), 2, replace=False)
        directions[at, chosen] = rng.choice([-1.0, 1.0], 2)
        along = drawn @ directions[at]
        steps[at] = (
            rng.uniform(0.15, 0.35),
            np.quantile(along, rng.uniform(0.5, 0.9)),
            0.2 * along.std(),
        )
    return anchored(linear, quadratic, directions, steps)


def anchored(
    linear: np.ndarray, quadratic: np.ndarray, directions: np.ndarray, steps: np.ndarray
) -> ScoreTruth:
    """Bias, depth and width, and their product, fitted to the published scores."""
    heights, places, widths = steps.T
    linear, quadratic = linear.copy(), quadratic.copy()
    depth, width = AT["depth"], AT["mean_width"]
    linear[[depth, width]] = 0.0
    quadratic[depth, width] = 0.0
    bare = ScoreTruth(
        LOW, HIGH, 0.0, linear, quadratic, heights, directions, places, np.maximum(widths, 1e-9)
    )
    shapes = [bert(*shape) for shape in ANCHORS]
    shares = (bare.scores(shapes) - LOW) / (HIGH - LOW)
    wanted = (np.array(list(ANCHORS.values())) - LOW) / (HIGH - LOW)
    left = np.log(wanted / (1 - wanted)) - np.log(shares / (1 - shares))
    phi = features(shapes)
    columns = np.column_stack(
        [np.ones(len(shapes)), phi[:, depth], phi[:, width], phi[:, depth] * phi[:, width]]
    )
    signed = np.column_stack([-columns[:, 0], columns])  # the bias alone may be negative
    negative, positive, *costs = nnls(signed, left)[0]  # no size does harm by itself
    bias = positive - negative
    linear[depth], linear[width], quadratic[depth, width] = costs
    return ScoreTruth(
        LOW, HIGH, float(bias), linear, quadratic, heights, directions, places, widths
    )


TRUTHS = {"friendly": friendly, "hostile": hostile, "unseen": unseen}

if __name__ == "__main__":
    main()
