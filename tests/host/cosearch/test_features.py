"""Features are physical: sums agree with the terms, and what does not matter does not show."""

from __future__ import annotations

import numpy as np
import pytest
from edgetran_host.cosearch.features import FLOPS, PARAMETERS, ArchitectureFeatures, place_rows
from edgetran_host.cosearch.layer_features import exact_terms
from edgetran_host.cosearch.pair import Place
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_host.surrogates.terms import architecture_terms
from hypothesis import given, settings
from hypothesis import strategies as st

FLEXIBERT2 = DesignSpace.flexibert2()


@pytest.fixture(scope="module")
def features() -> ArchitectureFeatures:
    return ArchitectureFeatures(FLEXIBERT2)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_layers_add_up_to_the_terms(seed: int) -> None:
    (design,) = sample(FLEXIBERT2, 1, np.random.default_rng(seed))
    assert exact_terms(design) == pytest.approx(list(architecture_terms(design).values()))


def test_work_is_in_multiples_of_a_mean_design(features: ArchitectureFeatures) -> None:
    designs = sample(FLEXIBERT2, 20, np.random.default_rng(6))
    work = features.work(designs)
    terms = np.array([exact_terms(design) for design in designs])
    assert (work[:, 0] == 1).all()
    unit = terms[0] / work[0, 1:]
    assert work[:, 1:] * unit == pytest.approx(terms)
    assert 0.3 < np.median(work[:, 1:]) < 3


def test_an_operation_is_as_likely_to_cost_in_all_products(features: ArchitectureFeatures) -> None:
    designs = sample(FLEXIBERT2, 1, np.random.default_rng(6))
    (work,), (terms,) = features.work(designs), [exact_terms(design) for design in designs]
    shares = features.likely_shares
    assert shares.sum() == pytest.approx(1)
    assert (shares > 0).all()
    each = (shares * work)[1:] / terms  # of one more of a term
    for alike in (FLOPS, PARAMETERS):
        known = [each[at] for at in alike if terms[at] > 0]
        assert known == pytest.approx([known[0]] * len(known))


def test_rows_are_finite_standardised_and_the_same_each_time(
    features: ArchitectureFeatures,
) -> None:
    designs = sample(FLEXIBERT2, 200, np.random.default_rng(5))
    rows = features.rows(designs)
    assert rows.shape == (200, features.groups[-1].stop)
    assert np.abs(rows.mean(axis=0)).max() < 1.5  # half of the reference designs are tied
    assert (rows == ArchitectureFeatures(FLEXIBERT2).rows(designs)).all()


def test_only_positions_and_sets_tell_the_order_of_layers(features: ArchitectureFeatures) -> None:
    (design,) = sample(FLEXIBERT2, 1, np.random.default_rng(9))
    wide = design.layers[0]
    layers = (wide, *(layer for layer in design.layers[1:]))
    one, other = features.rows([Architecture(layers), Architecture(layers[::-1])])
    heads = next(group for group in features.groups if group.name == "heads")
    positions = next(group for group in features.groups if group.name == "positions")
    assert one[heads.columns] == pytest.approx(other[heads.columns])
    assert np.abs(one[positions.columns] - other[positions.columns]).max() > 0.1


def test_places_are_their_datasheets() -> None:
    same = place_rows([Place("rpi4:cpu"), Place("rpi4:cpu", "openvino"), Place("a100:gpu")])
    assert same[0] == pytest.approx(same[1])
    assert np.abs(same[0] - same[2]).max() > 1
    assert (place_rows([Place("rpi4"), Place("mine"), Place("a100")])[1] == 0).all()
