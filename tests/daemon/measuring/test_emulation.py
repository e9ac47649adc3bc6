"""Figures of an emulated board come from its model and say so."""

from __future__ import annotations

import dataclasses

import pytest
from edgetran_daemon.board.board import emulated, this_machine
from edgetran_daemon.measuring.emulation import BoardClock, Charge, asked_of, modelled
from edgetran_devices import RESIDENT, UnitModel, load_board, names, predict_published
from edgetran_protos.bundle import BundleCard, Golden, Variant, Work
from edgetran_protos.errors import UnknownTarget, UsageError
from edgetran_protos.measuring.document import check, digest_of
from edgetran_protos.measuring.reasons import MODELLED

WORK = Work(4e7, 2e7, 3e6, 5e6, 1e6, 60)
VARIANT = Variant("onnxruntime-int8", "onnxruntime", "int8", "sha256:0", 10, WORK, 0.0)
DESIGN = {"l": 1, "o": [["sa_sdp_64"] * 2], "h": [128], "f": [[512]]}
PROTRAN = "protran-2022"
CARD = BundleCard(
    name="design",
    task="regression",
    labels=[],
    sequence_length=128,
    tokenizer_digest="sha256:0",
    architecture=DESIGN,
    architecture_id="",
    variants=[VARIANT],
    golden=Golden([], [], [], [], {}, 0.0),
)
FP32 = dataclasses.replace(VARIANT, precision="fp32")
UNITS = [unit for name in names() for unit in load_board(name).units.values()]


def facts(batch_size: int = 1) -> dict[str, object]:
    """Of a trial on this machine."""
    return {
        "bundle_digest": "sha256:0",
        "variant": VARIANT.name,
        "board": "x",
        "unit": "cpu",
        "title": "A board",
        "load_s": 0.5,
        "peak_memory_bytes": 1000,
        "artefact_bytes": 10,
        "threads": 1,
        "batch_size": batch_size,
        "sequence_length": 8,
        "runtime": "onnxruntime 1.0",
        "started_unix_s": 1.0,
    }


def expected_s(unit: UnitModel, batch_size: int) -> float:
    """The roofline of the cost model, written out once more."""
    compute_s = WORK.matmul_flops / unit.fp32_flops + WORK.int8_ops / unit.int8_ops
    memory_bytes = WORK.weight_bytes + WORK.elementwise_bytes * batch_size
    busy_s = max(compute_s * batch_size, memory_bytes / unit.bandwidth_bytes_s)
    return unit.overhead_s + WORK.kernel_launches * unit.launch_s + busy_s


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: f"{unit.name}-{unit.active_w}W")
@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_boards_model_takes_the_place_of_this_machines_figures(
    unit: UnitModel, batch_size: int
) -> None:
    found = modelled(facts(batch_size), unit, WORK)
    latency_s = expected_s(unit, batch_size)
    assert found.latency_p50_s.value == pytest.approx(latency_s)
    assert found.latency_p95_s.value == pytest.approx(latency_s * unit.p95_ratio)
    assert found.latency_p99_s.value == pytest.approx(latency_s * unit.p99_ratio)
    assert found.energy_j is not None
    assert found.energy_j.value == pytest.approx(latency_s * unit.active_w)
    assert found.peak_power_w is not None
    assert found.peak_power_w.value == unit.peak_w
    for quantity in (found.latency_p50_s, found.energy_j, found.peak_power_w):
        assert quantity.low == pytest.approx(quantity.value * (1 - unit.relative_error))
        assert quantity.high == pytest.approx(quantity.value * (1 + unit.relative_error))


def test_a_modelled_record_cannot_be_taken_for_a_measured_one() -> None:
    own = facts()
    found = modelled(own, UNITS[0], WORK)
    assert (found.modelled, found.verdict) == (True, MODELLED)
    assert found.source == UNITS[0].source
    assert "board_is_emulated" in found.reasons
    assert found.samples_s == ()
    assert (found.latency_cv, found.runs_a_block) == (0.0, 0)
    kept = ("load_s", "peak_memory_bytes", "artefact_bytes", "bundle_digest", "variant", "runtime")
    assert all(getattr(found, name) == own[name] for name in kept)
    check(found.document)
    assert (found.document["modelled"], found.document["verdict"]) == (True, MODELLED)
    assert found.document["samples"] == []
    assert found.document["digest"] == digest_of(found.document)


def test_the_clock_adds_up_what_the_board_would_have_spent() -> None:
    unit = load_board("nano").units["gpu"]
    clock = BoardClock(emulated("nano:gpu"))
    assert clock.busy_s == 0
    first, second = clock.charge(CARD, VARIANT, 1), clock.charge(CARD, VARIANT, 5)
    assert first == Charge(pytest.approx(expected_s(unit, 1)), RESIDENT)
    assert second == Charge(pytest.approx(expected_s(unit, 5)), RESIDENT)
    assert first is not None
    assert second is not None
    assert clock.busy_s == pytest.approx(first.latency_s + second.latency_s)


def test_a_real_board_has_no_modelled_time() -> None:
    clock = BoardClock(this_machine())
    assert clock.charge(CARD, VARIANT, 1) is None
    assert clock.busy_s == 0


def test_boards_say_what_they_are() -> None:
    nano = emulated("nano:gpu")
    assert (nano.id, nano.unit, nano.emulated) == ("jetson-nano", "gpu", True)
    assert nano.model == load_board("nano").units["gpu"]
    own = this_machine()
    assert (own.id, own.emulated, own.model) == ("local", False, None)
    assert own.cpu_count >= 1
    assert own.memory_bytes > 1 << 28
    assert not dataclasses.replace(nano, model=None).emulated


@pytest.mark.parametrize("name", ["local", "nanoo", "nano:tpu", "", ":", "nano:"])
def test_what_cannot_be_emulated(name: str) -> None:
    with pytest.raises(UnknownTarget) as caught:
        emulated(name)
    assert caught.value.hint


def test_a_published_calibration_answers_for_a_design_of_the_study() -> None:
    board = emulated("rpi4", PROTRAN)
    assert board.model is not None
    found = modelled({**facts(), **asked_of(board, CARD, FP32, 0)}, board.model, WORK)
    wanted = predict_published(board.model.calibrations[PROTRAN], DESIGN)
    assert found.calibration == PROTRAN
    assert found.source == board.model.calibrations[PROTRAN].source
    assert found.latency_p50_s.value == pytest.approx(wanted.latency_s)
    assert found.energy_j is not None
    assert found.energy_j.value == pytest.approx(wanted.energy_j)
    assert found.document["facts"]["calibration"] == PROTRAN
    resident = modelled(facts(), board.model, WORK)
    assert resident.calibration == RESIDENT
    assert found.latency_p50_s.value > 10 * resident.latency_p50_s.value


def test_scatter_follows_the_seed_and_the_place() -> None:
    def measured(seed: int | None, place: int) -> float:
        board = emulated("m1", PROTRAN, seed)
        assert board.model is not None
        asked = asked_of(board, CARD, FP32, place)
        return modelled({**facts(), **asked}, board.model, WORK).latency_p50_s.value

    assert measured(1, 0) == measured(1, 0)
    assert len({measured(1, 0), measured(1, 1), measured(2, 0), measured(None, 0)}) == 4
    assert measured(None, 0) == measured(None, 1)


@pytest.mark.parametrize(
    ("card", "variant", "told"),
    [
        (CARD, VARIANT, "int8"),
        (dataclasses.replace(CARD, architecture={}), FP32, "architecture"),
        (dataclasses.replace(CARD, sequence_length=32), FP32, "32"),
    ],
)
def test_of_what_the_study_did_not_measure_only_the_resident_model_speaks(
    card: BundleCard, variant: Variant, told: str
) -> None:
    board = emulated("rpi4", PROTRAN)
    assert board.model is not None
    asked = asked_of(board, card, variant, 0)
    with pytest.raises(UsageError, match=told) as caught:
        modelled({**facts(), **asked}, board.model, WORK)
    assert "resident" in (caught.value.hint or "")
    assert BoardClock(board).charge(card, variant, 1) == Charge(
        pytest.approx(expected_s(board.model, 1)), RESIDENT
    )


@pytest.mark.parametrize(
    ("calibration", "seed"),
    [("protran", None), ("", None), (RESIDENT, 3), ("protran-2022-main", 1)],
)
def test_a_calibration_that_a_board_has_not_is_refused(calibration: str, seed: int | None) -> None:
    with pytest.raises(UsageError) as caught:
        emulated("rpi4", calibration, seed)
    assert caught.value.hint
