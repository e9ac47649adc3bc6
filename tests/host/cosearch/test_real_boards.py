"""What a search asks of its boards before anything is trained."""

from __future__ import annotations

from pathlib import Path

import edgetran
import pytest
from edgetran_host.cosearch.assignment import Assignment
from edgetran_host.cosearch.goal import Limits
from edgetran_host.cosearch.real_boards import Boards
from edgetran_protos.errors import BudgetError

pytest.importorskip("edgetran_daemon.main", reason="needs the daemon's package")


@pytest.mark.parametrize("limits", [Limits(energy_j=0.3), Limits(peak_power_w=5.0)])
def test_a_limit_that_no_sensor_can_watch(limits: Limits, own_home: Path) -> None:
    with edgetran.connect("local") as board:
        if not all(sensor.unavailable for sensor in board.describe().sensors):
            pytest.skip("this machine has a power sensor")
    file = own_home / "boards.json"
    for _ in range(2):  # a refused board is not taken for known the next time
        with pytest.raises(BudgetError, match="no power sensor"):
            Boards(Assignment("rows", ("local",)), file, limits=limits)
    emulated = Boards(Assignment("rows", ("nano",)), file, limits=limits)
    assert {place.board for place in emulated.places()} == {"jetson-nano:cpu"}
    emulated.close()
