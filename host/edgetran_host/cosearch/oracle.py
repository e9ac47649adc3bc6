"""A truth of every pair, so that searches can be compared without training or measuring.

It is plain arrays in one .npz (docs/search.md lists them). `exact` tells the truth; `measure`
draws what an experiment would have shown: costs scatter by board, and a score by the rows of
the dev set, the same rows for one design whenever it is scored, and by the seed of its training.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from edgetran_protos.errors import DataError

from edgetran_host.cosearch.board_truth import BoardTruth
from edgetran_host.cosearch.goal import COSTS
from edgetran_host.cosearch.outcome import Noise, Outcome
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.score_truth import FEATURES, ScoreTruth
from edgetran_host.space.identity import architecture_id

FORMAT = "edgetran-oracle-1"
MAKE = "make it: python benchmarks/make_oracles.py FOLDER"


@dataclass(frozen=True)
class Oracle:
    board: BoardTruth
    score: ScoreTruth
    cost_noise: np.ndarray  # (b, 3) relative deviations of latency, energy, peak power
    dev_noise: float  # absolute deviations of a score
    seed_noise: float

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(Place(board) for board in self.board.boards)

    def noise(self, place: Place) -> Noise:
        latency, energy, peak = self.cost_noise[self.board.boards.index(place.board)]
        return Noise(float(np.hypot(self.dev_noise, self.seed_noise)), latency, energy, peak)

    def exact(self, pairs: Sequence[Pair]) -> list[Outcome]:
        """Raises DataError for a board that the truth does not know."""
        unknown = {pair.place.board for pair in pairs} - set(self.board.boards)
        if unknown:
            raise DataError(
                f"the oracle knows nothing of {', '.join(sorted(unknown))}",
                hint=f"it knows {', '.join(self.board.boards)}",
            )
        designs = [pair.architecture for pair in pairs]
        costs = self.board.values(designs, [pair.place.board for pair in pairs])
        scores = self.score.scores(designs)
        return [
            Outcome(float(score), **dict(zip(COSTS, map(float, row))))
            for score, row in zip(scores, costs)
        ]

    def measure(self, pairs: Sequence[Pair], rng: np.random.Generator) -> list[Outcome]:
        return [self._disturbed(*one, rng) for one in zip(pairs, self.exact(pairs))]

    def _disturbed(self, pair: Pair, outcome: Outcome, rng: np.random.Generator) -> Outcome:
        noise = self.cost_noise[self.board.boards.index(pair.place.board)]
        measured = {
            name: getattr(outcome, name) * float(np.exp(deviation * rng.standard_normal()))
            for name, deviation in zip(COSTS, noise)
        }
        identity = int(architecture_id(pair.architecture)[:16], 16)
        rows = self.dev_noise * np.random.default_rng(identity).standard_normal()
        seed = self.seed_noise * rng.standard_normal()
        score = np.array(outcome.score, dtype=float) + rows + seed
        return replace(outcome, score=float(np.clip(score, 0, 1)), **measured)

    def save(self, path: Path) -> None:
        arrays = {
            f"{part}_{field.name}": np.asarray(getattr(getattr(self, part), field.name))
            for part in ("board", "score")
            for field in fields(getattr(self, part))
        }
        np.savez_compressed(
            path,
            allow_pickle=False,
            format=np.array(FORMAT),
            features=np.array(FEATURES),
            cost_noise=self.cost_noise,
            dev_noise=np.array(self.dev_noise),
            seed_noise=np.array(self.seed_noise),
            **arrays,
        )

    @staticmethod
    def load(path: Path) -> Oracle:
        """Raises DataError for a file that holds no truth, or one of other features."""
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile) as exc:
            raise DataError(f"cannot read the oracle {path}: {exc}", hint=MAKE) from exc
        try:
            if str(found["format"]) != FORMAT or tuple(found["features"]) != FEATURES:
                raise DataError(f"{path} holds another kind of truth than this one", hint=MAKE)
            return _from_arrays(found)
        except KeyError as exc:
            raise DataError(f"{path} holds no oracle: it lacks {exc}", hint=MAKE) from exc


def _from_arrays(found: Mapping[str, np.ndarray]) -> Oracle:
    board = BoardTruth(
        boards=tuple(map(str, found["board_boards"])),
        terms=tuple(map(str, found["board_terms"])),
        constant=found["board_constant"],
        costs=found["board_costs"],
        least=found["board_least"],
        cliff_bytes=found["board_cliff_bytes"],
        cliff_cost=found["board_cliff_cost"],
    )
    score = ScoreTruth(
        low=float(found["score_low"]),
        high=float(found["score_high"]),
        bias=float(found["score_bias"]),
        linear=found["score_linear"],
        quadratic=found["score_quadratic"],
        step_heights=found["score_step_heights"],
        step_directions=found["score_step_directions"],
        step_places=found["score_step_places"],
        step_widths=found["score_step_widths"],
    )
    noise, dev, seed = (found[name] for name in ("cost_noise", "dev_noise", "seed_noise"))
    return Oracle(board, score, noise, float(dev), float(seed))
