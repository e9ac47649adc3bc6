"""What the models of a co-search see of a pair: physical sizes, never indices or names.

An architecture becomes five groups of numbers: its work (logarithms of the terms and of their
sums), its heads (shares of kinds), its shape (means and extremes of sizes over the layers),
positions (front layers against back ones), and its layers as a set. The set is the mean of
random Fourier features of the layers, so that products of two such means are means of a
kernel between all pairs of layers. A place becomes the logarithms of its datasheet rates.
All are standardised on designs drawn from the space, never on trials, so that they stay.
Sources: Rahimi and Recht, "Random features for large-scale kernel machines" (2007); Muandet
et al., "Kernel mean embedding of distributions" (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import edgetran_devices
import numpy as np

from edgetran_host.cosearch.layer_features import (
    KINDS,
    SIZES,
    TABLES,
    TERMS,
    WEIGHTS,
    exact_terms,
    layer_shares,
    layer_sizes,
)
from edgetran_host.cosearch.moves import tie
from edgetran_host.cosearch.pair import Place
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample

REFERENCE_DESIGNS = 256  # to standardise on; half of them tied
REFERENCE_SEED = 20230325
WAVES = 24  # random Fourier features of a layer
SIZE_SPREAD, SHARE_SPREAD = 1.0, 0.5  # of a layer's logarithms and shares, for the waves
FLOPS = [at for at, name in enumerate(TERMS) if name.endswith("_flops")]
WAVES_FROM = len(SIZES) + KINDS  # column of a layer's traits
PAID_FOR = ("work", "heads")  # groups that costs depend on; they come first
REMEMBERED = 100_000  # architectures
EIGHT_BITS = "int8"


@dataclass(frozen=True)
class Group:
    name: str
    start: int
    stop: int

    @property
    def columns(self) -> slice:
        return slice(self.start, self.stop)


class ArchitectureFeatures:
    """Turns architectures of one space into rows."""

    def __init__(self, space: DesignSpace) -> None:
        self.space = space
        rng = np.random.default_rng(REFERENCE_SEED)
        self._frequencies = rng.normal(size=(len(SIZES) + KINDS, WAVES // 2))
        self._frequencies[: len(SIZES)] /= SIZE_SPREAD
        self._frequencies[len(SIZES) :] /= SHARE_SPREAD
        self._traits = lru_cache(maxsize=REMEMBERED)(self._traits_of)
        self._row = lru_cache(maxsize=REMEMBERED)(self._standardised)
        designs = sample(space, REFERENCE_DESIGNS, rng)
        designs[1::2] = [tie(design) for design in designs[1::2]]
        parts = [self._parts(design) for design in designs]
        self.groups = _groups([(name, len(part)) for name, part in parts[0].items()])
        raw = np.array([np.concatenate(list(part.values())) for part in parts])
        self._centre, self._spread = raw.mean(axis=0), raw.std(axis=0)
        self._spread[self._spread < 1e-9] = 1.0  # the same everywhere in this space

    def rows(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """(n, k) standardised."""
        width = len(self._centre)
        return np.array([self._row(one) for one in architectures]).reshape(-1, width)

    def _standardised(self, architecture: Architecture) -> np.ndarray:
        raw = np.concatenate(list(self._parts(architecture).values()))
        row: np.ndarray = (raw - self._centre) / self._spread
        return row

    def _parts(self, architecture: Architecture) -> dict[str, np.ndarray]:
        layers = architecture.layers
        each = np.array([self._traits(layer) for layer in layers])  # (l, sizes + kinds + waves)
        back = np.linspace(0, 1, len(layers)) if len(layers) > 1 else np.array([0.5])
        lean = (back - 0.5) / len(layers) @ each  # front layers count against back ones
        mean = each.sum(axis=0) / len(layers)
        sizes = each[:, : len(SIZES)]
        least, most = sizes.min(axis=0), sizes.max(axis=0)
        terms = exact_terms(architecture)
        flops = terms[FLOPS].sum()
        weights = terms[TABLES] + terms[WEIGHTS]
        terms = np.log1p(terms)
        return {
            "work": np.concatenate([terms[:-KINDS], np.log([flops, weights])]),
            "heads": np.concatenate([mean[len(SIZES) : WAVES_FROM], terms[-KINDS:]]),
            "shape": np.concatenate([mean[: len(SIZES)], least, most, sizes[0], sizes[-1]]),
            "positions": lean[:WAVES_FROM],
            "layers": np.concatenate([mean[WAVES_FROM:], lean[WAVES_FROM:]]),
        }

    def _traits_of(self, layer: Layer) -> np.ndarray:
        """(sizes + kinds + waves,)"""
        traits = np.concatenate([layer_sizes(layer), layer_shares(layer)])
        angles = traits @ self._frequencies
        return np.concatenate([traits, np.cos(angles), np.sin(angles)])


def place_rows(places: Sequence[Place]) -> np.ndarray:
    """(p, 10) standardised over these places; a board that no datasheet knows is average."""
    raw = np.array([_rates(place) for place in places])
    known = np.isfinite(raw)
    centre = np.where(known.any(0), np.nansum(raw, axis=0) / np.maximum(known.sum(0), 1), 0.0)
    centred = np.where(known, raw - centre, 0.0)
    spread = np.sqrt((centred**2).mean(axis=0))
    return centred / np.where(spread < 1e-9, 1.0, spread)


def datasheet_unit(place: Place) -> edgetran_devices.UnitModel | None:
    """None: the catalogue does not have the board, or does not model it."""
    try:
        spec, unit = edgetran_devices.resolve(place.board)
    except edgetran_devices.UnknownBoard:
        return None
    return spec.units.get(unit)


def _rates(place: Place) -> list[float]:
    unit = datasheet_unit(place)
    eight_bits = float(place.precision.startswith(EIGHT_BITS))
    if unit is None:
        return [np.nan] * 9 + [eight_bits]
    board, _ = edgetran_devices.resolve(place.board)
    rates = (
        unit.int8_ops if eight_bits else unit.fp32_flops,
        unit.int8_ops / unit.fp32_flops,
        unit.bandwidth_bytes_s,
        unit.launch_s,
        unit.overhead_s,
        unit.idle_w,
        unit.active_w,
        unit.peak_w,
        board.memory_bytes,
    )
    return [float(np.log(rate)) if rate else np.nan for rate in rates] + [eight_bits]


def _groups(widths: Sequence[tuple[str, int]]) -> tuple[Group, ...]:
    ends = np.cumsum([width for _, width in widths])
    return tuple(
        Group(name, int(end) - width, int(end)) for (name, width), end in zip(widths, ends)
    )
