"""Where sensors are, as a user writes it, and which one measures."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgetran_daemon.main import main
from edgetran_daemon.sensors import Line, Nvml, Rapl, Wiring, chosen, known_sensors
from edgetran_daemon.sensors.places import AUTO, NAMES, NONE, Places, parse_chip, parse_meter
from edgetran_protos.errors import UsageError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ("", None)),
        ("ina219:1:0x40", ("ina219", Wiring(1, 0x40, 0.1))),
        ("INA226:0:65:0.01", ("ina226", Wiring(0, 0x41, 0.01))),
        ("ina260:7:0x4F", ("ina260", Wiring(7, 0x4F))),
    ],
)
def test_a_chip_is_written_as_bus_address_and_shunt(text: str, found: object) -> None:
    assert parse_chip(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "ina220:1:0x40",
        "ina219",
        "ina219:1",
        "ina219:1:0x50",
        "ina219:-1:0x40",
        "ina219:1:0x40:0",
        "ina219:1:0x40:nan",
        "ina219:1:0x40:11",
        "ina219:1:0x40:0.1:2",
        "ina219:one:0x40",
        "ina260:1:0x40:0.1",
    ],
)
def test_what_is_no_chip_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="i2c_sensor") as caught:
        parse_chip(text)
    assert "ina226:1:0x40:0.01" in caught.value.hint


def test_the_command_refuses_it_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ["--check", "--state", str(tmp_path), "--i2c-sensor", "ina226:1"]
    assert main(options) == 2
    assert "e.g. ina226:1:0x40:0.01" in capsys.readouterr().err


def test_every_name_can_be_chosen() -> None:
    assert tuple(sensor.name for sensor in known_sensors()) == NAMES
    for name in NAMES:
        found = chosen(known_sensors(), name)
        assert found is not None
        assert found.name == name
    assert chosen(known_sensors(), NONE) is None


def test_by_itself_the_first_that_can_be_read_is_chosen(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    for name, text in {"name": "package-0", "energy_uj": "1", "max_energy_range_uj": "9"}.items():
        (zone / name).write_text(text)
    blind, sees = Rapl(tmp_path / "absent"), Rapl(tmp_path)
    assert chosen((blind, sees), AUTO) is sees
    assert chosen((blind,), AUTO) is None


def test_a_card_is_never_chosen_by_itself() -> None:
    class Card(Nvml):
        def unavailable(self) -> str:
            return ""

    card = Card()
    assert chosen((card,), AUTO) is None
    assert chosen((card,), "nvml") is card


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ("", None)),
        ("um:/dev/rfcomm0", ("um", Line("/dev/rfcomm0", 9600))),
        ("SmartPower3:/dev/ttyUSB0:921600", ("smartpower3", Line("/dev/ttyUSB0", 921600))),
    ],
)
def test_a_meter_is_written_as_port_and_baud_rate(text: str, found: object) -> None:
    assert parse_meter(text) == found


@pytest.mark.parametrize("text", ["um", "um:", "meter:/dev/ttyUSB0", "um:/dev/rfcomm0:fast"])
def test_what_is_no_meter_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="serial_meter") as caught:
        parse_meter(text)
    assert "smartpower3:/dev/ttyUSB0" in caught.value.hint


def test_only_the_chip_that_was_named_has_a_place() -> None:
    places = Places(chip="ina226", wiring=Wiring(250, 0x40))
    reasons = {sensor.name: sensor.unavailable() for sensor in known_sensors(places)}
    assert "/dev/i2c-250" in reasons["ina226"]
    for other in ("ina219", "ina260"):
        assert "not set up" in reasons[other]
