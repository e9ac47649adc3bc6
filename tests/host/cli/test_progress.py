"""What a bar says of time."""

from __future__ import annotations

import io
import re
import time

from edgetran.progress import Progress
from edgetran_host.cli.progress import _bars
from rich.console import Console


def test_a_stage_that_comes_again_has_a_clock_of_its_own() -> None:
    shown = io.StringIO()
    with _bars(Console(file=shown, force_terminal=True, width=80)) as listen:
        listen(Progress("measuring", 0, 1))
        time.sleep(2.1)
        listen(Progress("measuring", 1, 1))
        time.sleep(0.3)  # a frame or two
        listen(Progress("measuring", 0, 1, "again"))
        listen(Progress("measuring", 1, 1, "again"))
    took = re.findall(r"took (\d\d:\d\d)", shown.getvalue())
    assert "00:02" in took
    assert took[-1] == "00:00"
