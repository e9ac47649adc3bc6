"""What a job's rows are used for."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from edgetran import Board

from tests.host.tiny_job import workbench


def test_held_out_rows_have_no_say_in_the_vocabulary(tmp_path: Path) -> None:
    """Otherwise a cut vocabulary would cost them nothing, as it costs new text."""
    work = workbench(tmp_path / "run", cast(Board, None))
    texts = set(work.texts())
    assert {row.text for row in work.split.train + work.split.further} <= texts
    trained_on = {row.text for row in work.split.taught}
    unseen = {row.text for row in (*work.split.valid, *work.split.dev)} - trained_on
    assert unseen
    assert not unseen & texts
