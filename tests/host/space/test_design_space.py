"""The lattice: its published counts, what it holds, and what it says to bad input."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import FLEXIBERT2, DesignSpace
from edgetran_protos.errors import ArchitectureError, UsageError

SPACE = DesignSpace.flexibert2()


def architecture(**changes: object) -> Architecture:
    """Two layers on the lattice, but for what is changed."""
    raw: dict[str, object] = {
        "l": 2,
        "h": [128, 256],
        "o": [["sa_sdp_64", "c_9_64"], ["l_dft_64"] * 4],
        "f": [[256], [1024, 512, 4096]],
    }
    return Architecture.from_dict({**raw, **changes})


def test_published_counts() -> None:
    assert SPACE.stack_count == 258
    assert SPACE.head_set_count == 21_805
    assert SPACE.embedding_length == 37
    a_layer = 258 * 4 * 21_805
    assert SPACE.size() == sum(a_layer**count for count in (2, 4, 6, 8, 10, 12))
    assert f"{SPACE.size():.5e}" == "1.68589e+88"


def test_holds_what_is_on_the_lattice() -> None:
    assert SPACE.contains(architecture())
    floored = architecture(o=[["sa_sdp_10"] * 12, ["c_5_21"] * 12])
    assert SPACE.contains(floored)  # 12 heads of 10 fill 120 of 128


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"h": [128, 300]}, "layer 1: hidden size is 300, which flexibert2 does not have"),
        ({"o": [["sa_sdp_42"] * 3, ["l_dft_64"] * 4]}, "layer 0: the number of heads is 3"),
        (
            {"o": [["sa_sdp_64"] * 2, ["l_dft_32"] * 4]},
            r"layer 1: head size is 32, but floor\(256 / 4\) is 64",
        ),
        ({"f": [[256], [1000]]}, "layer 1: feed-forward width is 1000"),
        ({"f": [[256] * 4, [256]]}, "layer 0: feed-forward depth is 4"),
        (
            {"l": 1, "h": [128], "o": [["l_dct_64"] * 2], "f": [[256]]},
            "the number of layers is 1,",
        ),
    ],
)
def test_names_layer_and_rule(changes: dict[str, object], message: str) -> None:
    off_lattice = architecture(**changes)
    assert not SPACE.contains(off_lattice)
    with pytest.raises(ArchitectureError, match=message) as caught:
        SPACE.validate(off_lattice)
    assert caught.value.hint


def test_a_kind_the_space_lacks() -> None:
    space = dataclasses.replace(SPACE, name="small", head_kinds=("sa_sdp", "l_dft"))
    with pytest.raises(ArchitectureError, match="layer 0: head kind is c_9, which small"):
        space.validate(architecture())


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ("layer_counts", "", "lacks layer_counts"),
        ("layer_counts", "layers = [2]\nlayer_counts = [2]", "does not know layers"),
        ("head_counts", "head_counts = 4", "head_counts must be a list, got 4"),
        ("head_counts", "head_counts = []", "head_counts must list whole numbers"),
        ("head_counts", "head_counts = [4, 2]", "ascending"),
        ("head_counts", "head_counts = [2, 'four']", "whole numbers"),
        ("head_counts", "head_counts = [2, true]", "whole numbers"),
        ("head_counts", "head_counts = [2, 256]", "256 heads leave no head size in 128"),
        ("hidden_sizes", "hidden_sizes = [0, 128]", "from 1"),
        ("head_kinds", "head_kinds = ['l_dft', 'sa_sdp']", "in their order"),
        ("head_kinds", "head_kinds = ['sa_sdp', 'relu']", "head_kinds must name"),
        ("head_kinds", "head_kinds = [['sa_sdp']]", "head_kinds must name"),
        ("name", "name = 3", "name must be a text"),
    ],
)
def test_an_unusable_file(tmp_path: Path, line: str, replacement: str, message: str) -> None:
    lines = FLEXIBERT2.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "space.toml"
    path.write_text(
        "\n".join(replacement if text.startswith(line) else text for text in lines),
        encoding="utf-8",
    )
    with pytest.raises(ArchitectureError, match=message):
        DesignSpace.load(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the design space") as caught:
        DesignSpace.load(tmp_path / "absent.toml")
    assert caught.value.hint
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"layers = [\xff")
    with pytest.raises(UsageError, match="is not TOML"):
        DesignSpace.load(broken)
