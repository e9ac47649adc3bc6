"""What a design will score, from scores that cost less than its training, or nothing.

Designs around MiniLM-L6 on SST-2, each trained for real (`score_designs.py`; their scores are in
`scored_designs.json`). How cheap fidelities rank them beside the whole training, with 95 %
intervals by a bootstrap over designs; what each costs; and how well
`edgetran_host.accuracy` foretells the whole training from the others', with and without them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_host.accuracy.gate import LEAST_DESIGNS
from edgetran_host.accuracy.predictor import AccuracyPredictor
from edgetran_host.accuracy.scored import FULL, ScoredDesign, read_table
from edgetran_host.cosearch.features import ArchitectureFeatures
from edgetran_host.space.design_space import DesignSpace
from scipy.stats import kendalltau, spearmanr

TABLE = Path(__file__).with_name("scored_designs.json")
RESAMPLES = 2000
SPLITS = 20
AGAIN = "full again"

Correlation = Callable[[np.ndarray, np.ndarray], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", nargs="?", type=Path, default=TABLE)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    given = parser.parse_args()
    designs, raw = read_table(given.table), json.loads(given.table.read_text(encoding="utf-8"))
    found = {
        "benchmark": "accuracy",
        "designs": len(designs),
        "scores": spread(designs, raw),
        "fidelities": fidelities(designs, raw["designs"]),
        "predictors": predictors(designs),
    }
    if given.json:
        print(json.dumps(found))
    else:
        show(found)


def spread(designs: Sequence[ScoredDesign], raw: dict[str, Any]) -> dict[str, float]:
    """Of the whole trainings: between designs, between seeds of one, by the rows scored on."""
    scores = np.array([one.score for one in designs])
    twice = [one for one in raw["designs"] if AGAIN in one]
    dev = np.array([one[FULL]["dev"] for one in raw["designs"]])
    apart = np.array([one[AGAIN]["held_out"] - one[FULL]["held_out"] for one in twice])
    return {
        "teacher": raw["teacher"]["held_out"],
        "least": float(scores.min()),
        "most": float(scores.max()),
        "deviation": float(scores.std(ddof=1)),
        "spearman_with_dev": float(spearmanr(scores, dev).statistic),
        "trained_twice": len(twice),
        "deviation_of_seeds": float(np.sqrt((apart**2).mean() / 2)) if twice else float("nan"),
        "deviation_of_rows": float(np.sqrt((scores * (1 - scores)).mean() / raw["held_out_rows"])),
    }


def fidelities(
    designs: Sequence[ScoredDesign], raw: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    scores = np.array([one.score for one in designs])
    better = scores >= np.median(scores)
    whole = np.mean([one[FULL]["cpu_s"] for one in raw])
    found = []
    for name in designs[0].cheap:
        cheap = np.array([one.cheap[name] for one in designs])
        cost = np.mean([one[name]["cpu_s"] for one in raw])
        found.append(
            {
                "fidelity": name,
                "spearman": with_interval(spearmanr, cheap, scores),
                "kendall": with_interval(kendalltau, cheap, scores),
                "spearman_better_half": with_interval(spearmanr, cheap[better], scores[better]),
                "lost_by_its_choice": float(scores.max() - scores[cheap.argmax()]),
                "cpu_s": float(cost),
                "scoring_cpu_s": float(np.mean([one[name]["scoring_cpu_s"] for one in raw])),
                "share_of_full": float(cost / whole),
            }
        )
    return found


def with_interval(
    correlation: Correlation, one: np.ndarray, other: np.ndarray
) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        rows = rng.integers(len(one), size=len(one))
        drawn.append(correlation(one[rows], other[rows]).statistic)
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return float(correlation(one, other).statistic), float(low), float(high)


def predictors(designs: Sequence[ScoredDesign]) -> list[dict[str, Any]]:
    """The gate of all designs, then of some of them, with errors on those left out."""
    features = ArchitectureFeatures(around_the_seed(designs))
    found = []
    for cheap in (None, *designs[0].cheap):
        whole = AccuracyPredictor(features, designs, cheap)
        counts = [n for n in (LEAST_DESIGNS, 18, 24) if n <= len(designs) - 6]
        found.append(
            {
                "input": cheap or "architecture alone",
                **asdict(whole.gate),
                "passes": whole.gate.passes,
                "by_count": [by_count(features, designs, cheap, count) for count in counts],
            }
        )
    return found


def by_count(
    features: ArchitectureFeatures,
    designs: Sequence[ScoredDesign],
    cheap: str | None,
    count: int,
) -> dict[str, float]:
    """Fitted on `count` designs, asked of the rest; where the gate passed, over the splits."""
    ratios, ranks, within = [], [], []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(designs))
        seen, rest = ([designs[at] for at in part] for part in np.split(order, [count]))
        predictor = AccuracyPredictor(features, seen, cheap)
        if not predictor.gate.passes:
            continue
        given = None if cheap is None else np.array([one.cheap[cheap] for one in rest])
        foretold = predictor.predict([one.architecture for one in rest], given)
        scores = np.array([one.score for one in rest])
        mean = np.mean([one.score for one in seen])
        ratios.append(
            np.sqrt(((foretold.value - scores) ** 2).mean() / ((mean - scores) ** 2).mean())
        )
        ranks.append(spearmanr(foretold.value, scores).statistic)
        within.append(((foretold.low <= scores) & (scores <= foretold.high)).mean())
    passed = bool(ratios)
    return {
        "designs": count,
        "passed": len(ratios) / SPLITS,
        "error_ratio": float(np.mean(ratios)) if passed else float("nan"),
        "spearman": float(np.mean(ranks)) if passed else float("nan"),
        "coverage_90": float(np.mean(within)) if passed else float("nan"),
    }


def around_the_seed(designs: Sequence[ScoredDesign]) -> DesignSpace:
    """The choices that the designs make."""
    layers = [layer for one in designs for layer in one.architecture.layers]
    return DesignSpace(
        name="scored designs",
        layer_counts=tuple(sorted({len(one.architecture.layers) for one in designs})),
        hidden_sizes=tuple(sorted({layer.hidden for layer in layers})),
        head_counts=tuple(sorted({len(layer.heads) for layer in layers})),
        head_kinds=("sa_sdp",),
        feed_forward_widths=tuple(sorted({layer.feed_forward[0] for layer in layers})),
        feed_forward_depths=(1,),
        head_sizes=(layers[0].head_size,),
    )


def show(found: dict[str, Any]) -> None:
    scores = found["scores"]
    print(
        f"{found['designs']} designs, scores {scores['least']:.1%} to {scores['most']:.1%}"
        f" (teacher {scores['teacher']:.1%}), deviation {100 * scores['deviation']:.2f} points;"
        f" of seeds {100 * scores['deviation_of_seeds']:.2f} ({scores['trained_twice']} trained"
        f" twice), of the rows {100 * scores['deviation_of_rows']:.2f}; ranks on dev rows agree"
        f" by {scores['spearman_with_dev']:.2f}"
    )
    print("\nranks beside the whole training's, with 95 % intervals")
    for one in found["fidelities"]:
        rho, tau, half = (
            "{:.2f} [{:.2f}, {:.2f}]".format(*one[name])
            for name in ("spearman", "kendall", "spearman_better_half")
        )
        print(
            f"  {one['fidelity']:<11} Spearman {rho}, in the better half {half}; Kendall {tau};"
            f" its choice loses {100 * one['lost_by_its_choice']:.1f} points; training"
            f" {one['cpu_s']:.1f} CPU-s ({one['share_of_full']:.0%} of the whole),"
            f" scoring {one['scoring_cpu_s']:.1f}"
        )
    print("\nforetold by the other designs")
    for one in found["predictors"]:
        print(
            f"  {one['input']:<19} error {100 * one['error']:.2f} points,"
            f" {one['error'] / one['constant_error']:.2f} of the mean's, Spearman"
            f" {one['spearman']:.2f}: {'passes' if one['passes'] else 'does not pass'}"
        )
        for part in one["by_count"]:
            print(
                f"    of {part['designs']:>2}: passes in {part['passed']:.0%} of {SPLITS} draws;"
                f" then on the rest {part['error_ratio']:.2f} of the mean's error, Spearman"
                f" {part['spearman']:.2f}, {part['coverage_90']:.0%} inside 90 % intervals"
            )


if __name__ == "__main__":
    main()
