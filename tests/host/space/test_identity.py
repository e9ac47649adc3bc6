"""Golden hashes and sizes of published architectures, and what the two names tell apart."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import chain, product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.embedding import decode, index_limits, nearest_valid
from edgetran_host.space.identity import architecture_id, legacy_md5
from edgetran_host.space.parameters import count_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

SPACE = DesignSpace.flexibert2()
GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "flexibert2.json").read_text(encoding="utf-8")
)
FIRST_SEED = ("e3ea4dd7dab98b7ca6aa439a22e2c669", 111.66)
"""Hash and million parameters of the first of the published initial designs."""

ATTENTION = Layer(128, ("sa_sdp", "sa_sdp"), 64, (256,))
FOURIER = Layer(128, ("l_dft", "l_dft"), 64, (256,))
rows = st.tuples(*(st.integers(0, limit - 1) for limit in index_limits(SPACE)))


def golden(case: dict[str, Any]) -> Architecture:
    row = [case["layer_count"], *chain.from_iterable(case["layers"])]
    return decode(row + [0] * (SPACE.embedding_length - len(row)), SPACE)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["name"]))
def test_published_hash_and_size(case: dict[str, Any]) -> None:
    architecture = golden(case)
    assert legacy_md5(architecture) == case["legacy_md5"]
    millions = count_parameters(architecture).total / 1e6
    assert millions == pytest.approx(case["million_parameters"], abs=0.005)


def test_the_edgetran_root_decodes() -> None:
    """Read off the published description, layer by layer."""
    first, second = golden(GOLDEN[3]).layers
    assert (first.hidden, second.hidden) == (256, 256)
    assert (first.head_size, second.head_size) == (21, 21)
    assert first.feed_forward == (4096, 3072, 4096)
    assert second.feed_forward == (256, 256, 2048)
    assert first.heads == (
        *("sa_sdp",) * 2, *("sa_wma",) * 2, *("l_dft",) * 2, "l_dct", "c_5", *("c_9",) * 4,
    )  # fmt: skip
    assert second.heads == (*("sa_wma",) * 2, *("l_dft",) * 3, *("c_5",) * 2, *("c_9",) * 5)


def test_published_measurements(shared: Path) -> None:
    """The first seed by hash and size; all measured designs lie in the space, named apart."""
    folder = shared / "data" / "protran"
    if not folder.is_dir():
        pytest.skip("needs the published measurements in the shared data folder")
    seeds = _architectures(folder / "accuracy.json")
    assert legacy_md5(seeds[0]) == FIRST_SEED[0]
    assert count_parameters(seeds[0]).total / 1e6 == pytest.approx(FIRST_SEED[1], abs=0.005)
    measured = {one for path in folder.glob("*.json") for one in _architectures(path)}
    assert len(measured) > 100
    for architecture in measured:
        SPACE.validate(architecture)
    assert len({architecture_id(one) for one in measured}) == len(measured)


def _architectures(path: Path) -> list[Architecture]:
    table = json.loads(path.read_text(encoding="utf-8"))
    return [Architecture.from_dict(row["architecture"]) for row in table]


@settings(max_examples=30, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_names_ignore_head_order(row: tuple[int, ...], random: Random) -> None:
    architecture = decode(nearest_valid(row, SPACE), SPACE)
    shuffled = Architecture(
        tuple(
            dataclasses.replace(layer, heads=tuple(random.sample(layer.heads, len(layer.heads))))
            for layer in architecture.layers
        )
    )
    assert architecture_id(shuffled) == architecture_id(architecture)
    assert legacy_md5(shuffled) == legacy_md5(architecture)
    assert Architecture.from_dict(json.loads(json.dumps(shuffled.to_dict()))) == architecture


def test_our_name_is_pinned() -> None:
    """Stored runs are found by it: it must never change by accident."""
    name = architecture_id(Architecture((ATTENTION, FOURIER)))
    assert re.fullmatch("[0-9a-f]{64}", name)
    assert name == "3207b2a934e10bbbbb0c8ff1984a206d7dfb87faa3b4905904c073977c988461"


def test_our_name_covers_what_changes_the_numbers() -> None:
    one = Architecture((ATTENTION, FOURIER))
    names = [
        architecture_id(one),
        architecture_id(one, sequence_length=128),
        architecture_id(one, sequence_length=64),
        architecture_id(one, lt_scale=True),
        architecture_id(one, lt_scale=False),
        architecture_id(one, head_semantics=2),
        architecture_id(Architecture((FOURIER, ATTENTION))),
        architecture_id(Architecture((ATTENTION, dataclasses.replace(FOURIER, head_size=32)))),
    ]
    assert len(set(names)) == len(names)


def test_a_collision() -> None:
    """One Fourier layer among eleven of attention, in place 5 or 6: one hash, two networks."""
    one, other = (
        Architecture(tuple(FOURIER if at == place else ATTENTION for at in range(12)))
        for place in (5, 6)
    )
    assert legacy_md5(one) == legacy_md5(other)
    assert architecture_id(one) != architecture_id(other)


def test_the_published_hash_collides() -> None:
    """Of 4,096 models over two head sets only 4,056 have a hash of their own."""
    models = [Architecture(layers) for layers in product((ATTENTION, FOURIER), repeat=12)]
    assert len({legacy_md5(model) for model in models}) == 4_056
    assert len({architecture_id(model) for model in models}) == 4_096
