"""A fleet on the dashboard: its last rollout as the ledger has it, which a look leaves alone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from edgetran_host.dashboard.fleet_body import fleet_body
from edgetran_host.dashboard.shelf import FLEET, Shelf
from edgetran_host.fleet.ledger import DEPLOYED, DEPLOYING, HALTED, REFUSED, Ledger
from edgetran_host.fleet.plan import Plan
from edgetran_host.fleet.running import ledger_path

PLAN = Plan("gone.tar", "sha256:" + 64 * "a", "intents")
REASON = "<b>the canary's answers differ</b>"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "kitchens[1].toml"  # as a file may be called
    boards = (f'[[boards]]\nname = "oven-{n}"\naddress = "127.0.0.1:{n}"\n' for n in (1, 2, 3, 4))
    path.write_text("\n".join(['name = "kitchens"', *boards]))
    return path


@pytest.fixture
def ledger(fleet: Path) -> Path:
    path = ledger_path(fleet)
    with closing(Ledger(path)) as found:
        rollout = found.begin(PLAN, [["oven-1"], ["oven-2", "oven-3"]])
        for board, state in (("oven-1", DEPLOYED), ("oven-2", REFUSED), ("oven-3", DEPLOYING)):
            found.note(rollout.id, board, state=state, reason=REASON * (state == REFUSED))
        found.settle(rollout.id, HALTED, "1 of 2 boards of wave 2 failed")
    return path


def test_a_rollout_is_told_board_by_board(fleet: Path, ledger: Path) -> None:
    body = fleet_body(fleet)
    assert "1 of 2 boards of wave 2 failed" in body
    assert "1 deployed, 1 deploying, 1 refused" in body
    order = [body.index(f"<td>{name}</td>") for name in ("oven-2", "oven-3", "oven-1")]
    assert order == sorted(order)  # what went wrong comes first
    assert "&lt;b&gt;the canary&#x27;s answers differ&lt;/b&gt;" in body
    assert "<b>the" not in body
    assert "1 boards joined since" in body


def test_a_look_changes_nothing(fleet: Path, ledger: Path, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "runs", tmp_path / "records", [fleet])
    shelf.refresh()
    (entry,) = shelf.fleets
    assert (entry.kind, entry.state) == (FLEET, "halted")
    assert entry.about == "kitchens: 1 deployed, 1 deploying, 1 refused"
    bytes_before = ledger.read_bytes()
    fleet_body(fleet)
    shelf.refresh()
    assert shelf.fleets == (entry,)
    assert ledger.read_bytes() == bytes_before
    assert shelf.find(FLEET, entry.name) == (entry, fleet)
    assert shelf.find("", entry.name) is None
    with closing(Ledger(ledger)) as found:
        found.note(1, "oven-3", state=DEPLOYED)
        shelf.refresh()
        assert shelf.fleets[0].about == "kitchens: 2 deployed, 1 refused"


def test_before_the_first_rollout_and_a_damaged_file(fleet: Path, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, tmp_path / "records", [fleet])
    shelf.refresh()
    assert shelf.fleets[0].state == "nothing deployed yet"
    assert "Nothing was deployed" in fleet_body(fleet)
    fleet.write_text("boards = 1")
    shelf.refresh()
    assert shelf.fleets[0].state == "cannot be read"
