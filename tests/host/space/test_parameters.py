"""The count, kind by kind, against sums written out by hand."""

from __future__ import annotations

from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.parameters import count_parameters


def test_plain_attention_by_hand() -> None:
    layer = Layer(hidden=4, heads=("sa_sdp", "sa_sdp"), head_size=2, feed_forward=(8,))
    count = count_parameters(Architecture((layer, layer)), vocab_size=10)
    assert count.word_embedding == 40
    assert count.position_embedding == 514 * 4
    assert count.type_embedding == 4
    assert count.attention == 2 * 4 * (4 * 4 + 4)
    assert count.relative_positions == 2 * 1027 * 2
    assert count.head_extras == 0
    assert count.feed_forward == 2 * ((4 * 8 + 8) + (8 * 4 + 4))
    assert count.projections == 0
    assert count.norms == 8 + 2 * 2 * 8
    assert count.pooler == 4 * 4 + 4
    assert count.total == 40 + 2056 + 4 + 160 + 4108 + 0 + 152 + 0 + 40 + 20


def test_stacks_and_changes_of_width() -> None:
    first = Layer(hidden=4, heads=("l_dft",), head_size=4, feed_forward=(8, 6))
    last = Layer(hidden=6, heads=("l_dct",) * 5, head_size=1, feed_forward=(8,))
    count = count_parameters(Architecture((first, last, last)))
    assert count.projections == 4 * 6 + 6  # once: the last two layers are equally wide
    assert count.feed_forward == (4 * 8 + 8 + 8 * 6 + 6 + 6 * 4 + 4) + 2 * (6 * 8 + 8 + 8 * 6 + 6)
    narrow = 3 * (6 * 5 + 5) + (5 * 6 + 6)  # 5 heads of 1 leave one hidden unit over
    assert count.attention == 4 * (4 * 4 + 4) + 2 * narrow
    assert count.pooler == 6 * 6 + 6


def test_what_special_heads_add() -> None:
    layer = Layer(hidden=8, heads=("sa_wma", "c_5"), head_size=4, feed_forward=(8,))
    count = count_parameters(Architecture((layer,)))
    convolution = 4 * 5 + 4**2 + 4 + (4 * 5 + 5) + (4**2 + 4)
    assert count.head_extras == 4 * 4 + convolution


def test_parts_that_can_be_left_out() -> None:
    layer = Layer(hidden=4, heads=("sa_sdp",), head_size=4, feed_forward=(8,))
    whole = count_parameters(Architecture((layer,)))
    lean = count_parameters(Architecture((layer,)), positions=0, pooler=False)
    assert lean.position_embedding == lean.pooler == 0
    assert whole.total - lean.total == whole.position_embedding + whole.pooler
