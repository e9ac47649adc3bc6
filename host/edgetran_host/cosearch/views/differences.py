"""What one pair has that another has not, in a few words; and how far apart two pairs are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from edgetran_host.cosearch.inheriting import shares
from edgetran_host.cosearch.pair import Pair
from edgetran_host.space.architecture import Architecture, Layer

NO_DIFFERENCE = "the same"
MOST = 4  # differences that are told one by one

ASPECTS: dict[str, Callable[[Layer], str]] = {
    "hidden": lambda layer: str(layer.hidden),
    "heads": lambda layer: _heads(layer),
    "stack": lambda layer: "+".join(map(str, layer.feed_forward)),
}


def differences(one: Pair, other: Pair) -> str:
    """From `one` to `other`: "on m1:cpu instead of rpi4:cpu; hidden 256 -> 512 in layers 2-4"."""
    found = []
    if one.place != other.place:
        found.append(f"on {other.place.id} instead of {one.place.id}")
    before, after = one.architecture.layers, other.architecture.layers
    if len(before) != len(after):
        found.append(f"layers {len(before)} -> {len(after)}")
        before = tuple(before[at * len(before) // len(after)] for at in range(len(after)))
    for name, aspect in ASPECTS.items():
        changes: dict[tuple[str, str], list[int]] = {}
        for at, (layer, next_) in enumerate(zip(before, after)):
            if aspect(layer) != aspect(next_):
                changes.setdefault((aspect(layer), aspect(next_)), []).append(at)
        found += [
            f"{name} {old} -> {new}{_where(places, len(after))}"
            for (old, new), places in changes.items()
        ]
    if len(found) > MOST:
        found = [*found[: MOST - 1], f"{len(found) - MOST + 1} more"]
    return "; ".join(found) or NO_DIFFERENCE


def nearest(pair: Pair, others: Sequence[Pair]) -> list[int]:
    """Indices of the others, those first that share the most weights; another board is farther."""
    if not others:
        return []
    designs = [one.architecture for one in others]
    close = shares([pair.architecture], designs, len(designs))[0].round(9)
    elsewhere = [one.place != pair.place for one in others]
    return sorted(range(len(others)), key=lambda at: (-close[at], elsewhere[at], at))


def design_words(architecture: Architecture) -> list[str]:
    """A line a layer, equal neighbours in one: "1-4: hidden 256, 4 sa_sdp, stack 1024"."""
    lines: list[tuple[int, int, str]] = []
    for at, layer in enumerate(architecture.layers, 1):
        text = ", ".join(
            f"{name} {aspect(layer)}" if name != "heads" else aspect(layer)
            for name, aspect in ASPECTS.items()
        )
        if lines and lines[-1][2] == text:
            lines[-1] = (lines[-1][0], at, text)
        else:
            lines.append((at, at, text))
    return [f"{a}: {text}" if a == b else f"{a}-{b}: {text}" for a, b, text in lines]


def _heads(layer: Layer) -> str:
    counts = Counter(layer.heads)
    return " ".join(f"{count} {kind}" for kind, count in counts.items())


def _where(places: list[int], count: int) -> str:
    """Layers are counted from 1; nothing where all are meant."""
    if len(places) == count:
        return ""
    runs: list[list[int]] = []
    for at in places:
        if runs and runs[-1][-1] == at - 1:
            runs[-1].append(at)
        else:
            runs.append([at])
    told = [f"{run[0] + 1}-{run[-1] + 1}" if len(run) > 1 else str(run[0] + 1) for run in runs]
    return f" in layer{'s' if len(places) > 1 else ''} {', '.join(told)}"
