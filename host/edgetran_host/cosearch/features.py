"""What the models of a co-search see of a pair: physical sizes, never indices or names.

An architecture becomes four groups of numbers: its sizes (logarithms of depth, mean sizes of
the layers, operations, weights), its heads (mean roots of the shares of kinds: a little of a
kind changes more than a little more of it), positions (front layers against back ones, the
least, steps between neighbours), and its layers as a set. The set is the mean of
random Fourier features of the layers, so that products of two such means are means of a
kernel between all pairs of layers. A place becomes the logarithms of its datasheet rates.
All are standardised on designs drawn from the space, never on trials, so that they stay.
Beside them stand the terms of the design's work, in multiples of a mean design's.
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
    SIZES,
    TABLES,
    TERMS,
    WEIGHTS,
    layer_shares,
    layer_sizes,
    layer_terms,
    sum_terms,
)
from edgetran_host.cosearch.moves import tie
from edgetran_host.cosearch.pair import Place
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample

REFERENCE_DESIGNS = 256  # to standardise on; half of them tied
REFERENCE_SEED = 20230325
WAVES = 24  # random Fourier features of a layer
SIZE_SPREAD, SHARE_SPREAD = 1.0, 0.5  # of a layer's logarithms and roots of shares
FLOPS = [at for at, name in enumerate(TERMS) if name.endswith("_flops")]
PARAMETERS = [TABLES, WEIGHTS]
OF_FLOPS, OF_PARAMETERS, CONSTANT = 0.35, 0.2, 0.05  # likely shares of a cost; the rest by term
MEANS = [SIZES.index(name) for name in ("hidden", "heads", "head size", "stack depth")]
STACK, HIDDEN = SIZES.index("stack"), SIZES.index("hidden")
SIZED = len(MEANS) + 1  # columns of a layer: MEANS, neurons to hidden size; then its heads
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
        self._traits = lru_cache(maxsize=REMEMBERED)(self._traits_of)
        self._row = lru_cache(maxsize=REMEMBERED)(self._standardised)
        designs = sample(space, REFERENCE_DESIGNS, rng)
        designs[1::2] = [tie(design) for design in designs[1::2]]
        kinds = len(layer_shares(designs[0].layers[0]))
        self._frequencies = rng.normal(size=(SIZED + kinds, WAVES // 2))
        self._frequencies[:SIZED] /= SIZE_SPREAD
        self._frequencies[SIZED:] /= SHARE_SPREAD
        described = [self._parts(design) for design in designs]
        self.groups = _groups([(name, len(part)) for name, part in described[0][0].items()])
        raw = np.array([np.concatenate(list(parts.values())) for parts, _ in described])
        self._centre, self._spread = raw.mean(axis=0), raw.std(axis=0)
        self._spread[self._spread < 1e-9] = 1.0  # the same everywhere in this space
        self._mean_terms = np.array([terms for _, terms in described]).mean(axis=0)
        self._mean_terms[self._mean_terms == 0] = 1.0
        self.likely_shares = _likely_shares(self._mean_terms)

    def rows(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """(n, k) standardised."""
        width = len(self._centre)
        return np.array([self._row(one)[:width] for one in architectures]).reshape(-1, width)

    def work(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """(n, 1 + terms) one, and the terms of the work in multiples of a mean design's."""
        width = len(self._centre)
        found = np.array([self._row(one)[width:] for one in architectures])
        return found.reshape(-1, 1 + len(TERMS))

    def _standardised(self, architecture: Architecture) -> np.ndarray:
        parts, terms = self._parts(architecture)
        raw = np.concatenate(list(parts.values()))
        row = (raw - self._centre) / self._spread
        return np.concatenate([row, [1.0], terms / self._mean_terms])

    def _parts(self, architecture: Architecture) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Groups, and terms of the work."""
        layers = architecture.layers
        count = len(layers)
        each = np.array([self._traits(layer) for layer in layers])
        terms = sum_terms(layers, each[:, : len(TERMS)])
        each = each[:, len(TERMS) :]  # (l, sized + kinds + waves)
        lean = np.linspace(-1, 1, count) @ each / count if count > 1 else np.zeros(each.shape[1])
        mean = each.sum(axis=0) / count
        steps = np.abs(each[1:] - each[:-1]).sum(axis=0) / max(1, count - 1)
        waves = each.shape[1] - WAVES
        overall = [count, terms[FLOPS].sum(), terms[TABLES] + terms[WEIGHTS]]
        parts = {
            "sizes": np.concatenate([mean[:SIZED], np.log(overall)]),
            "heads": mean[SIZED:waves],
            "positions": np.concatenate(
                [lean[:waves], each[:, :SIZED].min(axis=0) - mean[:SIZED], steps[:waves]]
            ),
            "layers": mean[waves:],
        }
        return parts, terms

    def _traits_of(self, layer: Layer) -> np.ndarray:
        """(terms + sized + kinds + waves,)"""
        sizes = layer_sizes(layer)
        neurons = sizes[STACK] - sizes[HIDDEN]
        traits = np.concatenate([sizes[MEANS], [neurons], np.sqrt(layer_shares(layer))])
        angles = traits @ self._frequencies
        return np.concatenate([layer_terms(layer), traits, np.cos(angles), np.sin(angles)])


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


def _likely_shares(terms: np.ndarray) -> np.ndarray:
    """terms of a mean design -> (1 + terms,) what of a cost they are on a board that is not known.

    An operation costs as much in all products, a weight in all matrices; that boards spend
    more on these than on the rest holds for the published measurements of all of them.
    """
    found = np.zeros(1 + len(terms))
    found[0] = CONSTANT
    for share, alike in ((OF_FLOPS, FLOPS), (OF_PARAMETERS, PARAMETERS)):
        found[[1 + at for at in alike]] = share * terms[alike] / terms[alike].sum()
    others = [1 + at for at in range(len(terms)) if at not in (*FLOPS, *PARAMETERS)]
    found[others] = (1 - OF_FLOPS - OF_PARAMETERS - CONSTANT) / len(others)
    return found


def _groups(widths: Sequence[tuple[str, int]]) -> tuple[Group, ...]:
    ends = np.cumsum([width for _, width in widths])
    return tuple(
        Group(name, int(end) - width, int(end)) for (name, width), end in zip(widths, ends)
    )
