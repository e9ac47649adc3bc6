"""What a calibration leaves behind: an entry that is read back, a ledger that is resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edgetran import BoardInfo, RuntimeInfo
from edgetran_daemon.board.board import emulated
from edgetran_daemon.measuring.emulation import modelled
from edgetran_devices import RESIDENT, UnknownBoard, load_board, names, own_names, resolve
from edgetran_host.calibrating.entry import write_entry
from edgetran_host.calibrating.graphs import DESIGNS, MICRO, Specimen, bundle_of
from edgetran_host.calibrating.ledger import Ledger
from edgetran_host.calibrating.running import named, refuse_emulated
from edgetran_host.cli.show import calibrated_model
from edgetran_protos.bundle import Work
from edgetran_protos.errors import UnknownTarget, UsageError

UNIT = replace(
    load_board("rpi4").units["cpu"],
    calibrations={},
    relative_error=1.5,
    measured={"date": "2026-01-02T03:04:05+00:00", "threads": 4, "records": ["sha256:ab"]},
    source='it said "so" \\ and\nwent on',
)
BOARD = BoardInfo(
    board="local",
    title="This machine",
    unit="cpu",
    emulated=False,
    daemon_version="1",
    soc="x86_64",
    cpu_count=4,
    memory_bytes=1 << 30,
    threads=2,
    host_platform="linux x86_64",
    runtimes=(RuntimeInfo("onnxruntime", "1", ""),),
    sensors=(),
)
WORK = Work(4e7, 2e7, 3e6, 5e6, 1e6, 60)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGETRAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_an_entry_is_read_back_as_it_was(own_home: Path) -> None:
    path = write_entry("kitchen", BOARD, UNIT)
    assert path.parent == own_home / "catalogue"
    spec, unit = resolve("kitchen")
    assert spec.units[unit] == UNIT
    assert (spec.title, spec.cpu_count) == ("kitchen, as calibrated", 4)
    assert calibrated_model("kitchen", "cpu") == UNIT
    assert calibrated_model("rpi4", "cpu") is calibrated_model("nobody", "cpu") is None
    assert own_names() == ("kitchen",)
    assert "kitchen" not in names()
    write_entry("kitchen", BOARD, replace(UNIT, name="gpu"))
    assert set(load_board("kitchen").units) == {"cpu", "gpu"}
    assert not [one for one in path.parent.iterdir() if "partial" in one.name]


def test_an_entry_wins_over_the_board_that_comes_along() -> None:
    shipped = load_board("nano").units["cpu"]
    write_entry("jetson-nano", BOARD, replace(UNIT, fp32_flops=5e9))
    for called in ("nano", "jetson-nano", "Jetson"):
        assert load_board(called).units["cpu"].fp32_flops == 5e9 != shipped.fp32_flops


def test_a_calibrated_board_is_emulated_as_it_was_measured() -> None:
    write_entry("local", BOARD, replace(UNIT, idle_w=None, active_w=None, peak_w=None))
    board = emulated("local")
    assert board.model is not None
    assert board.calibration == RESIDENT
    facts: dict[str, Any] = {
        **{"bundle_digest": "", "variant": "", "board": "local", "unit": "cpu", "load_s": 0.0},
        **{"peak_memory_bytes": 1, "artefact_bytes": 1, "threads": 1, "batch_size": 1},
        **{"sequence_length": 8, "runtime": "", "started_unix_s": 0.0},
    }
    found = modelled(facts, board.model, WORK)
    assert found.energy_j is None, "there was no sensor"
    assert found.peak_power_w is None
    low, high = found.latency_p50_s.low, found.latency_p50_s.high
    assert low == pytest.approx(found.latency_p50_s.value / 2.5)
    assert high == pytest.approx(found.latency_p50_s.value * 2.5)
    with pytest.raises(UsageError, match="no calibration"):
        emulated("local", "protran-2022")


def test_no_name_leads_out_of_the_folder(own_home: Path) -> None:
    write_entry("kitchen", BOARD, UNIT)
    with pytest.raises(UnknownBoard):
        load_board("../catalogue/kitchen")
    with pytest.raises(UsageError, match="cannot be the name"):
        write_entry("../kitchen", BOARD, UNIT)


def test_a_damaged_entry_is_said() -> None:
    path = write_entry("kitchen", BOARD, UNIT)
    for text in ("title = ", 'title = "x"\n[units.cpu]\n', "units = 3\n"):
        path.write_text(text)
        with pytest.raises(UnknownTarget, match="is no board file") as caught:
            emulated("kitchen")
        assert "repair or remove" in (caught.value.hint or "")
    path.unlink()
    with pytest.raises(UnknownTarget, match="no board or unit"):
        emulated("kitchen")


@pytest.mark.parametrize("target", ["127.0.0.1:50051", "unix:/run/x.sock", "a b", ""])
def test_a_board_without_a_name_has_no_entry(target: str) -> None:
    with pytest.raises(UsageError) as caught:
        named(target)
    assert "edgetran device add" in (caught.value.hint or "")


def test_an_emulated_board_is_not_measured() -> None:
    refuse_emulated(BOARD)
    with pytest.raises(UsageError, match="emulated: there is nothing to measure") as caught:
        refuse_emulated(replace(BOARD, emulated=True))
    assert "edgetran-daemon" in (caught.value.hint or "")


def test_an_unfinished_calibration_is_resumed_and_no_other() -> None:
    first = Ledger.open("local", {"graphs": ["a"], "threads": 1})
    assert Ledger.open("local", {"graphs": ["a"], "threads": 1}).folder == first.folder
    assert Ledger.open("local", {"graphs": ["a"], "threads": 2}).folder != first.folder
    assert Ledger.open("kitchen", {"graphs": ["a"], "threads": 1}).folder != first.folder
    first.finish({})
    assert Ledger.open("local", {"graphs": ["a"], "threads": 1}).folder != first.folder


def test_what_a_killed_attempt_left_goes_and_nothing_else() -> None:
    ledger = Ledger.open("local", {})
    one, alike = Specimen("products", (8, 2)), Specimen("products", (8, 2), int8=True)
    kept = ledger.fresh_record(alike)
    for path in (kept, ledger.fresh_record(one), kept.with_name(f"{one.name}-2")):
        path.mkdir(parents=True)
    assert not ledger.fresh_record(one).exists()
    assert [path.name for path in kept.parent.iterdir()] == [alike.name]


def test_graphs_are_each_dear_in_one_way(tmp_path: Path) -> None:
    assert len({one.name for one in (*MICRO, *DESIGNS)}) == len(MICRO) + len(DESIGNS)
    works = {
        one: bundle_of(one, tmp_path).card.variants[0].work
        for one in (
            Specimen("products", (64, 2)),
            Specimen("products", (64, 2), length=1),
            Specimen("passes", (8, 50), length=1),
        )
    }
    products, stream, passes = works.values()
    assert products.matmul_flops == 2 * 2 * 128 * 64 * 64
    assert stream.matmul_flops == 2 * 2 * 64 * 64
    assert stream.weight_bytes == products.weight_bytes == 2 * 4 * 64 * 64
    assert passes.matmul_flops == 0
    assert passes.kernel_launches > 50
