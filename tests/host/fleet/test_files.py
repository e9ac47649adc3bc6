"""fleet.toml, waves and conditions: what they mean, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from edgetran_host.fleet.conditions import condition
from edgetran_host.fleet.fleet_file import FleetBoard, Wishes, read_fleet
from edgetran_host.fleet.plan import Plan
from edgetran_host.fleet.waves import waves
from edgetran_protos.errors import UsageError

GOOD = """
name = "kitchens"
model = "home"
[groups.ovens]
precision = "int8"
max_p99 = "50ms"
[[boards]]
name = "one"
address = "127.0.0.1:50051"
groups = ["ovens"]
max_p99 = "20ms"
[[boards]]
name = "two"
address = "unix:/run/edgetran.sock"
runtime = "onnxruntime"
max_energy = "300mJ"
[[boards]]
name = "three"
"""


@pytest.fixture
def path(tmp_path: Path, own_home: Path) -> Path:
    (own_home / "boards.json").write_text('{"schema": 1, "boards": {"three": "192.0.2.3:50051"}}')
    return tmp_path / "fleet.toml"


def test_a_fleet(path: Path) -> None:
    path.write_text(GOOD)
    fleet = read_fleet(path)
    assert (fleet.name, fleet.model, fleet.groups) == ("kitchens", "home", ("ovens",))
    one, two, three = fleet.boards
    assert one.wishes == Wishes(precision="int8", max_p99=0.02)  # its own word before the group's
    assert two.wishes == Wishes(runtime="onnxruntime", max_energy=0.3)
    assert three.address == "192.0.2.3:50051"  # of the address book


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('max_p99 = "20ms"', 'max_p98 = "20ms"', "did you mean max_p99"),
        ('max_p99 = "20ms"', 'max_p99 = "20mJ"', "board one: max_p99: '20mJ' is not a latency"),
        ('name = "two"', 'name = "one"', "two boards have the name one"),
        ("unix:/run/edgetran.sock", "127.0.0.1:50051", "two boards have the address"),
        ('name = "two"', "", "board 2 has no name"),
        ('name = "three"', 'name = "four"', "address book knows no four"),
        ('"127.0.0.1:50051"', '"http://x/"', "is not an address"),
        ("[[boards]]", "[[bords]]", "did you mean boards"),
        ('groups = ["ovens"]', 'groups = "ovens"', "groups is no list of names"),
        ('model = "home"', 'model = "../home"', "cannot be a model's name"),
        ('precision = "int8"', "precision = 8", "group ovens: precision is 8, must be text"),
        ('name = "kitchens"', "name = ", "is no TOML"),
    ],
)
def test_bad_files(path: Path, before: str, after: str, says: str) -> None:
    assert before in GOOD
    path.write_text(GOOD.replace(before, after))
    with pytest.raises(UsageError) as caught:
        read_fleet(path)
    assert says in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint


def test_no_file_and_no_boards(path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_fleet(path)
    path.write_text('name = "empty"')
    with pytest.raises(UsageError, match="has no boards"):
        read_fleet(path)


BOARDS = [FleetBoard(f"b{n}", f"h:{n}", ("lab",) if n > 7 else (), Wishes()) for n in range(1, 10)]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("1,10%,100%", [1, 8]),  # a tenth of nine is one, which the first wave brought
        ("100%", [9]),
        ("1,3,50%,100%", [1, 2, 2, 4]),
        ("lab,100%", [2, 7]),
        ("1,lab,100%", [1, 2, 6]),
        ("9", [9]),
    ],
)
def test_waves(text: str, sizes: list[int]) -> None:
    found = waves(text, BOARDS)
    assert [len(wave) for wave in found] == sizes
    names = [name for wave in found for name in wave]
    assert sorted(names) == sorted(board.name for board in BOARDS)
    if text.startswith("lab"):
        assert found[0] == ["b8", "b9"]


@pytest.mark.parametrize("text", ["", "1,2", "0,100%", "x,100%", "1.5,100%", "5,3,100%", "101%"])
def test_bad_waves(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        waves(text, BOARDS)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "value", "promised", "met"),
    [
        ("p99>20ms", 0.021, None, True),
        ("p99>20ms", 0.02, None, False),
        ("p99 >= 20 ms".replace("0 m", "0m"), 0.02, None, True),
        ("energy>300mJ", 0.31, None, True),
        ("accuracy<90%", 0.89, None, True),
        ("accuracy<0.9", 0.9, None, False),
        ("p99>1.2x", 0.025, 0.02, True),
        ("p99>1.2x", 0.023, 0.02, False),
        ("p99>1.2x", 1.0, None, False),  # nothing is promised
        ("p99>20ms", None, None, False),  # nothing is known
        ("failed>5%", 0.06, None, True),
    ],
)
def test_conditions(text: str, value: float | None, promised: float | None, met: bool) -> None:
    assert condition(text).met(value, promised) is met


@pytest.mark.parametrize(
    "text", ["p99", "p98>1ms", "p99>1mJ", "accuracy<90ms", "accuracy<120%", "p99>x", "p99=1ms"]
)
def test_bad_conditions(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        condition(text)
    assert caught.value.hint


def test_a_plan_is_checked_at_once_and_kept_whole() -> None:
    plan = Plan("b.tar", "sha256:0", "home", stop_if=("p99>20ms",), max_failures="5%")
    assert Plan.from_json(plan.to_json()) == plan
    assert [plan.budget(count) for count in (1, 20, 100)] == [0, 1, 5]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"stop_if": ("p99",)}, "is no condition"),
        ({"max_failures": "few"}, "is no number of boards"),
        ({"on_halt": "run"}, "is none of"),
        ({"stop_if": ("accuracy<90%",)}, "nothing is asked"),
        ({"stop_if": ("p99>20ms",), "measured": False}, "nothing is measured"),
    ],
)
def test_bad_plans(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Plan("b.tar", "sha256:0", "home", **wrong)
    assert says == "is none of" or caught.value.hint
