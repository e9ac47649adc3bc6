"""Designs by name, by a line and from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgetran_host.pretraining.designs import KNOWN, design_of
from edgetran_host.space.identity import legacy_md5
from edgetran_protos.errors import ArchitectureError, UsageError


def test_known_names() -> None:
    """Published hashes of the two that were measured."""
    assert legacy_md5(design_of("bert-mini")) == "40f62e468f3458f8d4a5b49ba1413ce6"
    assert legacy_md5(design_of("BERT-Base")) == "8b20da51c159887b310cabce176da7fb"
    assert all(design_of(name).layers for name in KNOWN)


def test_a_line() -> None:
    found = design_of("3x16:c_5,sa_sdp*3:32+64").to_dict()
    heads = ["sa_sdp_4", "sa_sdp_4", "sa_sdp_4", "c_5_4"]
    assert found == {"l": 3, "o": [heads] * 3, "h": [16] * 3, "f": [[32, 64]] * 3}


def test_a_file(tmp_path: Path) -> None:
    design = design_of("2x16:l_dft*2:32")
    for name, raw in (("a", design.to_dict()), ("b", {"architecture": design.to_dict()})):
        (tmp_path / name).write_text(json.dumps(raw))
        assert design_of(str(tmp_path / name)) == design


@pytest.mark.parametrize("asked", ["bert-huge", "4x256", "2x16:sa_sdp*x:32", "2x16:nothing:32"])
def test_no_design(asked: str) -> None:
    with pytest.raises((UsageError, ArchitectureError)) as caught:
        design_of(asked)
    assert caught.value.hint


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"architecture": 3}', '{"l": 1}'])
def test_no_design_in_a_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "design.json").write_text(content)
    with pytest.raises((UsageError, ArchitectureError)):
        design_of(str(tmp_path / "design.json"))
