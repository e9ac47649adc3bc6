"""Terms of designs: small ones by hand, large ones by what they must obey."""

from __future__ import annotations

from edgetran_host.space.architecture import Architecture
from edgetran_host.space.parameters import count_parameters
from edgetran_host.surrogates.terms import (
    ARCHITECTURE_TERMS,
    WORK_TERMS,
    architecture_terms,
    memory_bytes,
    total_flops,
    work_terms,
)
from edgetran_protos.bundle import Work

SMALL = {"l": 1, "o": [["sa_wma_96", "c_5_96"]], "h": [256], "f": [[512, 256]]}


def test_one_layer_by_hand() -> None:
    terms = architecture_terms(Architecture.from_dict(SMALL), sequence_length=10)
    assert terms["projection_flops"] == 2 * 10 * (3 * 256 * 192 + 192 * 256)
    assert terms["feed_forward_flops"] == 2 * 10 * (256 * 512 + 512 * 256 + 256 * 256)
    assert terms["score_flops"] == 2 * 10 * 10 * 96 * 3  # Q K^T of one head, P V of two
    assert terms["position_flops"] == 2 * 10 * 10 * 96 * 2
    assert terms["weighting_flops"] == 2 * 10 * 96 * 96
    assert terms["convolution_flops"] == 2 * 10 * (5 * 96 + 96 * 96 + 96 * 5 + 96 * 96 + 96 * 5)
    assert terms["odd_transforms"] == 0
    assert (terms["layers"], terms["matrices"], terms["width_changes"]) == (1, 3, 0)
    assert (terms["sa_wma_heads"], terms["c_5_heads"], terms["c_9_heads"]) == (1, 1, 0)


def test_only_transforms_of_odd_size_are_odd() -> None:
    odd = {"l": 1, "o": [["l_dft_96", "l_dct_96"]], "h": [192], "f": [[256]]}
    even = {"l": 1, "o": [["l_dft_64", "l_dct_64"]], "h": [128], "f": [[256]]}
    assert architecture_terms(Architecture.from_dict(odd))["odd_transforms"] == 2 * 96**2
    assert architecture_terms(Architecture.from_dict(even))["odd_transforms"] == 0


def test_weights_are_all_counted() -> None:
    architecture = Architecture.from_dict(SMALL)
    terms = architecture_terms(architecture)
    assert memory_bytes(terms) == 4 * count_parameters(architecture).total


def test_a_first_token_alone_by_hand() -> None:
    """The last layer: keys and values of ten tokens, all else of one."""
    raw = {"l": 2, "o": [["c_5_64"], ["sa_sdp_64", "sa_wma_64"]], "h": [64, 128], "f": [[64], [32]]}
    both = Architecture.from_dict(raw)
    whole, first = (architecture_terms(both, 10, first_only=only) for only in (False, True))
    before = architecture_terms(Architecture(both.layers[:1]), 10)
    change = 2 * 10 * 64 * 128
    products = 2 * 128 * 128
    assert first["projection_flops"] == before["projection_flops"] + change + 22 * products
    assert first["feed_forward_flops"] == before["feed_forward_flops"] + 2 * 2 * 128 * 32
    assert first["score_flops"] == before["score_flops"] + 2 * 10 * 64 * 4
    assert first["weighting_flops"] == 2 * 64 * 64
    assert first["softmax_values"] == before["softmax_values"] + 2 * 10
    assert memory_bytes(first) == memory_bytes(whole)
    mixing = Architecture.from_dict({**raw, "o": [["c_5_64"], ["sa_sdp_64", "c_5_64"]]})
    whole, first = (architecture_terms(mixing, 10, first_only=only) for only in (False, True))
    assert first["score_flops"] == whole["score_flops"], "all tokens ask, where kernels mix them"
    assert first["projection_flops"] == whole["projection_flops"] - 9 * products


def test_a_layer_more_costs_nothing_less() -> None:
    two = {key: value * 2 for key, value in SMALL.items()}
    one, both = (architecture_terms(Architecture.from_dict(a)) for a in (SMALL, two))
    assert list(one) == list(ARCHITECTURE_TERMS)
    assert all(both[name] >= one[name] for name in one)
    assert total_flops(both) == 2 * total_flops(one)


def test_a_graphs_work_speaks_the_same_words() -> None:
    work = Work(1e9, 2e9, 3e6, 4e6, 5e6, 7)
    terms = work_terms(work)
    assert list(terms) == list(WORK_TERMS)
    assert (total_flops(terms), memory_bytes(terms)) == (3e9, 9e6)
