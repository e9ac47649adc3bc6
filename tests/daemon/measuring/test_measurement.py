"""What may be asked of a measurement, and what its records are made of."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest
from edgetran_daemon.board.board import emulated, this_machine, usable_cores
from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.deployment.ledger import Ledger
from edgetran_daemon.measuring import trial
from edgetran_daemon.measuring.lease import Leases
from edgetran_daemon.measuring.measurement import Measurements, check
from edgetran_daemon.measuring.records import (
    MeasurePiece,
    MeasureProgress,
    MeasureRecord,
    MeasureSpec,
    Subject,
)
from edgetran_daemon.measuring.trial import rows_of
from edgetran_daemon.sensors import PowerSensor, Rapl
from edgetran_daemon.sensors.base import CLIPPED, Reading, SensorFault
from edgetran_daemon.sensors.contract import BOARD, Contract
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.bundles import BundleStore
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import (
    BoardBusy,
    BundleMissing,
    InputError,
    LeaseLost,
    RuntimeFault,
    UnknownVariant,
    UsageError,
)
from edgetran_protos.measuring.document import DocumentError, digest_of, judge_again
from edgetran_protos.measuring.document import check as check_document
from edgetran_protos.measuring.reasons import MODELLED
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

SUBJECT = Subject("sha256:" + "0" * 64)
SPEC = MeasureSpec((SUBJECT,), threads=1)
QUICK = dataclasses.replace(
    SPEC, warmup_runs=1, runs=5, blocks=2, min_block_s=0.02, warmup_limit_s=0.1
)
WATTS = 10.0


@pytest.mark.parametrize(
    "asked",
    [
        {"subjects": ()},
        {"subjects": (SUBJECT,) * 65},
        {"blocks": 101},
        {"runs": 200_001, "blocks": 1},
        {"runs": 100_001, "blocks": 2},
        {"batch_size": 257},
        {"threads": 4 * usable_cores() + 1},
        {"warmup_runs": 1_000_001},
        {"min_block_s": -1.0},
        {"min_block_s": 10.5},
        {"min_block_s": float("nan")},
        {"max_blocks": 101},
        {"runs": 100_001, "max_blocks": 2, "blocks": 1},
        {"warmup_limit_s": 601.0},
        {"half_width": 1.0},
        {"half_width": float("nan")},
    ],
)
def test_more_than_a_board_can_do_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check(dataclasses.replace(SPEC, **asked))


def test_threads_that_nobody_asked_for_are_the_daemons_own() -> None:
    with pytest.raises(UsageError, match="threads") as caught:
        check(dataclasses.replace(SPEC, threads=4 * usable_cores() + 1))
    assert "--threads" in caught.value.hint


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"subjects": (SUBJECT,) * 64},
        {"blocks": 100},
        {"runs": 100_000, "blocks": 2},
        {"batch_size": 256},
        {"threads": 4 * usable_cores()},
        {"min_block_s": 0.0},
        {"min_block_s": 10.0},
    ],
)
def test_the_limits_themselves_are_allowed(asked: dict[str, Any]) -> None:
    check(dataclasses.replace(SPEC, **asked))


@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(1, 4))), st.integers(1, 20))
def test_golden_rows_are_used_over_and_over(rows: Any, count: int) -> None:
    found = rows_of(rows, count)
    assert found.shape == (count, rows.shape[1])
    assert all((found[i] == rows[i % len(rows)]).all() for i in range(count))


def test_without_golden_rows_there_is_nothing_to_measure_with() -> None:
    with pytest.raises(InputError) as caught:
        rows_of(np.zeros((0, 8), np.int64), 1)
    assert caught.value.hint


class Bench:
    """Measurements of one board over a store that holds `bundle`."""

    def __init__(
        self,
        state: Path,
        bundle: Bundle,
        target: str = "",
        sensor: PowerSensor | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self.bundle = bundle
        self.blobs = BlobStore(state, reserve_bytes=0)
        self.store = BundleStore(self.blobs)
        for blob in bundle.transfer_blobs():
            with self.blobs.arriving(blob.digest, blob.size_bytes, 0) as arrival:
                arrival.write(bundle.read(blob.digest))
                arrival.finish()
        board = emulated(target) if target else this_machine()
        self.deployments = Deployments(self.store, Ledger(state / "deployments.json"), 1)
        self.leases = Leases(state / "lease-token")
        self.measurements = Measurements(
            self.store, self.deployments, board, sensor, self.leases, memory_bytes
        )

    def spec(self, **asked: Any) -> MeasureSpec:
        return dataclasses.replace(QUICK, subjects=(Subject(self.bundle.digest),), **asked)

    def measure(self, spec: MeasureSpec) -> tuple[list[MeasureProgress], list[MeasureRecord]]:
        async def run() -> list[Any]:
            return [event async for event in self.measurements.measure(spec)]

        events = asyncio.run(run())
        steps = [event for event in events if isinstance(event, MeasureProgress)]
        return steps, [event for event in events if isinstance(event, MeasureRecord)]


PATIENCE_S = 30.0


def workers() -> list[psutil.Process]:
    """Of this process, alive: other tests leave other children."""
    alive = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [process for process in alive if "edgetran_daemon.worker" in process.cmdline()]


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "WARMUP_S", 0.05)
    monkeypatch.setattr(trial, "IDLE_S", 0.3)


@pytest.fixture
def bundle(tmp_path: Path, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path / "bundle")
    return made


@pytest.fixture
def bench(tmp_path: Path, bundle: Bundle) -> Bench:
    return Bench(tmp_path / "state", bundle)


def test_a_record_says_what_was_measured_and_how(bench: Bench, tiny: ModuleType) -> None:
    before = time.time()
    steps, (record,) = bench.measure(bench.spec(batch_size=4))
    assert [s.stage for s in steps] == ["load", "warm-up", "measure", "measure", "measure"]
    assert (steps[-1].done, steps[-1].total) == (2, 2)
    assert (record.board, record.unit, record.modelled) == ("local", "cpu", False)
    assert record.bundle_digest == bench.bundle.digest
    assert (record.variant, record.sequence_length) == (tiny.VARIANT, tiny.LENGTH)
    assert (record.threads, record.batch_size) == (1, 4)
    assert record.runtime.startswith("onnxruntime ")
    assert len(record.samples_s) >= 2 * record.runs_a_block >= 10
    assert record.latency_p50_s.value == pytest.approx(np.median(record.samples_s))
    assert (record.energy_j, record.peak_power_w) == (None, None), "no sensor is not zero joules"
    assert before <= record.started_unix_s <= time.time()
    assert workers() == []


def test_anybody_derives_the_record_again_from_its_pieces(bench: Bench) -> None:
    """Over the wire's forms: pieces are bytes, the document is JSON."""

    async def run() -> list[Any]:
        return [e async for e in bench.measurements.measure(bench.spec(samples=True))]

    events = asyncio.run(run())
    pieces = [event for event in events if isinstance(event, MeasurePiece)]
    assert [piece.begun is not None for piece in pieces] == [True, False, False, False]
    assert pieces[0].begun is not None
    assert pieces[0].begun["figures"] is None
    record = events[-1]
    document = json.loads(json.dumps(record.document))
    check_document(document)
    assert document["digest"] == digest_of(document)
    again = judge_again(document, [piece.data for piece in pieces])
    assert json.loads(json.dumps(dataclasses.asdict(again.figures))) == document["figures"]
    assert (again.verdict, again.reasons) == (record.verdict, record.reasons)
    assert again.figures.latency_p50_s == record.latency_p50_s
    assert again.figures.runs == len(record.samples_s)
    assert again.figures.warm_up_runs >= QUICK.warmup_runs
    assert again.figures.reference_range is not None
    for wrong in (pieces[:-1], pieces[::-1]):
        with pytest.raises(DocumentError, match="pieces"):
            judge_again(document, [piece.data for piece in wrong])


def test_pieces_are_sent_only_to_who_asks_for_them(bench: Bench) -> None:
    async def run() -> list[Any]:
        return [e async for e in bench.measurements.measure(bench.spec())]

    assert not any(isinstance(event, MeasurePiece) for event in asyncio.run(run()))


def test_blocks_are_added_until_the_interval_is_narrow(bench: Bench) -> None:
    steps, (wide,) = bench.measure(bench.spec(max_blocks=4, half_width=1e-9))
    assert steps[-1].total == wide.document["figures"]["blocks"] == 4
    assert "interval_too_wide" in wide.reasons
    _, (narrow,) = bench.measure(bench.spec(max_blocks=4, half_width=0.99))
    assert narrow.document["figures"]["blocks"] == 2
    assert "interval_too_wide" not in narrow.reasons


def test_a_model_keeps_to_its_cores(bench: Bench) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not pin processes")
    seen: list[set[int]] = []

    async def run() -> list[Any]:
        found = []
        async for event in bench.measurements.measure(bench.spec()):
            if getattr(event, "stage", "") == "measure":
                seen.extend(set(os.sched_getaffinity(worker.pid)) for worker in workers())
            found.append(event)
        return found

    record = asyncio.run(run())[-1]
    assert seen
    assert all(cores == set(record.document["conditions"]["cores"]) for cores in seen)
    assert len(seen[0]) == 1


def test_subjects_come_back_in_order_and_each_knows_itself(bench: Bench) -> None:
    spec = bench.spec()
    twice = dataclasses.replace(spec, subjects=(*spec.subjects, Subject(bench.bundle.digest, "")))
    steps, records = bench.measure(twice)
    assert len(records) == 2
    measured = [s.done for s in steps if s.stage == "measure"]
    assert measured == [0, 1, 2, 3, 4], "block by block, in turn"


def test_more_threads_than_cores_is_suspect(bench: Bench) -> None:
    _, (record,) = bench.measure(bench.spec(threads=usable_cores() + 1))
    assert record.verdict != "valid"
    assert "more_threads_than_cores" in record.reasons


def test_an_emulated_board_runs_the_model_but_reports_its_own_figures(
    tmp_path: Path, bundle: Bundle
) -> None:
    bench = Bench(tmp_path / "state", bundle, "nano")
    begun = time.monotonic()
    _, (record,) = bench.measure(bench.spec(runs=100, blocks=50, min_block_s=5.0))
    assert time.monotonic() - begun < 20, "the blocks asked for would last minutes"
    assert (record.board, record.modelled, record.verdict) == ("jetson-nano", True, MODELLED)


@pytest.mark.parametrize(
    ("subject", "error"),
    [
        (SUBJECT, BundleMissing),
        (Subject("", "abacus"), UnknownVariant),
    ],
)
def test_a_measurement_that_fails_leaves_the_board_free(
    bench: Bench, subject: Subject, error: type[Exception]
) -> None:
    wrong = dataclasses.replace(subject, bundle_digest=subject.bundle_digest or bench.bundle.digest)
    spec = dataclasses.replace(bench.spec(), subjects=(Subject(bench.bundle.digest), wrong))
    with pytest.raises(error):
        bench.measure(spec)
    assert workers() == []
    assert bench.measure(bench.spec())[1]


def test_two_measurements_do_not_measure_each_other(bench: Bench) -> None:
    async def run() -> None:
        first = bench.measurements.measure(bench.spec())
        await first.__anext__()
        second = bench.measurements.measure(bench.spec())
        with pytest.raises(BoardBusy):
            await second.__anext__()
        with pytest.raises(BoardBusy):
            bench.store.discard(bench.bundle.digest, [])
        await first.aclose()  # the client hangs up
        assert workers() == []
        assert [e async for e in bench.measurements.measure(bench.spec())]
        assert bench.store.discard(bench.bundle.digest, []) > 0

    asyncio.run(run())


def test_under_a_lease_nobody_else_measures(bench: Bench) -> None:
    async def measured(token: int) -> list[Any]:
        return [e async for e in bench.measurements.measure(bench.spec(lease_token=token))]

    async def run() -> None:
        lease = bench.measurements.lease("me", 30)
        with pytest.raises(BoardBusy, match="me"):
            await measured(0)
        with pytest.raises(LeaseLost):
            await measured(lease.token + 1)
        assert await measured(lease.token)
        bench.leases.release(lease.token)
        with pytest.raises(LeaseLost):
            await measured(lease.token)
        assert await measured(0)

    asyncio.run(run())


def test_the_end_of_a_lease_stops_what_is_measured_under_it(bench: Bench) -> None:
    async def measure(spec: MeasureSpec, end: Callable[[int], None]) -> None:
        async for event in bench.measurements.measure(spec):
            if event.stage == "measure":
                assert workers()
                end(spec.lease_token)

    async def run(end: Callable[[int], None]) -> None:
        lease = bench.measurements.lease("hung", 1.0)
        spec = bench.spec(lease_token=lease.token, blocks=100, min_block_s=10.0)
        with pytest.raises(LeaseLost):
            await measure(spec, end)
        async with asyncio.timeout(PATIENCE_S):  # a busy machine takes a while to end a process
            while workers():
                await asyncio.sleep(0.05)
        assert [e async for e in bench.measurements.measure(bench.spec())]

    async def both() -> None:
        await run(bench.leases.release)
        await run(lambda token: None)  # nobody renews

    asyncio.run(both())


def test_no_lease_is_given_while_somebody_measures(bench: Bench) -> None:
    async def run() -> None:
        events = bench.measurements.measure(bench.spec())
        await events.__anext__()
        with pytest.raises(BoardBusy, match="measuring"):
            bench.measurements.lease("late", 30)
        await events.aclose()
        assert bench.measurements.lease("late", 30).token

    asyncio.run(run())


def test_a_client_that_does_not_read_does_not_keep_the_board(bench: Bench) -> None:
    async def run() -> None:
        slow = bench.measurements.measure(bench.spec())
        await slow.__anext__()
        lease = None
        while lease is None:
            with contextlib.suppress(BoardBusy):
                lease = bench.measurements.lease("next", 30)
            await asyncio.sleep(0.05)
        assert workers() == []
        assert [e async for e in slow][-1].samples_s, "what was measured is still there"

    asyncio.run(run())


@contextlib.contextmanager
def package(root: Path, watts: float) -> Iterator[Rapl]:
    """A RAPL package that draws constant power for as long as the test runs."""
    folder, ended, begun = root / "intel-rapl:0", threading.Event(), time.monotonic()
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0")
    (folder / "max_energy_range_uj").write_text(str(1 << 50))

    def count() -> None:
        while not ended.wait(0.002):
            partial = folder / "partial"
            partial.write_text(str(round((time.monotonic() - begun) * watts * 1e6)))
            partial.replace(folder / "energy_uj")

    (folder / "energy_uj").write_text("0")
    thread = threading.Thread(target=count)
    thread.start()
    yield Rapl(root)
    ended.set()
    thread.join()


def test_energy_is_power_times_the_time_of_one_inference(tmp_path: Path, bundle: Bundle) -> None:
    with package(tmp_path / "powercap", WATTS) as sensor:
        bench = Bench(tmp_path / "state", bundle, sensor=sensor)
        begun = time.monotonic()
        _, (record,) = bench.measure(bench.spec(min_block_s=0.4, blocks=3, batch_size=256))
        elapsed_s = time.monotonic() - begun
    assert record.energy_j is not None
    assert record.energy_j.low is not None
    assert record.energy_j.high is not None
    runs = len(record.samples_s)
    assert WATTS * sum(record.samples_s) / runs * 0.9 <= record.energy_j.high
    assert record.energy_j.low <= WATTS * elapsed_s / runs
    assert record.peak_power_w is not None
    assert record.peak_power_w.value > 0.5 * WATTS
    assert "rapl" in record.source
    assert "not the whole board" in record.source


class Display(PowerSensor):
    """A bench supply's display: steady watts with a little noise, until something happens."""

    name = "display"
    contract = Contract(BOARD, "all of it", 200.0, 100.0, "this machine's", "none")

    def __init__(self, broken: str = "", after: int = 0) -> None:
        super().__init__()
        self._broken, self._after = broken, after
        self._rng = np.random.default_rng(0)

    def unavailable(self) -> str:
        return ""

    def _read(self) -> Reading:
        self._after -= 1
        watts = float(self._rng.normal(WATTS, 0.1))
        if not self._broken or self._after > 0:
            return Reading(time.monotonic(), watts)
        if self._broken == "unplugged":
            raise OSError(121, "Remote I/O error")
        if self._broken == "clipped":
            raise SensorFault(CLIPPED)
        return Reading(time.monotonic(), WATTS)  # stuck


@pytest.mark.parametrize(
    ("broken", "reason"),
    [("unplugged", "sensor_vanished"), ("clipped", "sensor_saturated"), ("stuck", "sensor_stale")],
)
def test_a_sensor_that_fails_meanwhile_costs_the_energy_and_nothing_else(
    tmp_path: Path, bundle: Bundle, broken: str, reason: str
) -> None:
    bench = Bench(tmp_path / "state", bundle, sensor=Display(broken, after=120))
    _, (record,) = bench.measure(bench.spec(min_block_s=0.4, samples=True))
    assert reason in record.reasons
    assert (record.energy_j, record.energy_net_j, record.peak_power_w) == (None, None, None)
    assert record.latency_p50_s.value > 0
    assert record.document["sensor"]["name"] == "display"


def test_what_the_idle_board_draws_is_taken_off(tmp_path: Path, bundle: Bundle) -> None:
    """A board that draws the same whatever it does spends nothing on a model."""
    bench = Bench(tmp_path / "state", bundle, sensor=Display())
    _, (record,) = bench.measure(bench.spec(min_block_s=0.4))
    assert not {"sensor_vanished", "sensor_stale", "sensor_saturated"} & set(record.reasons)
    assert record.energy_j is not None
    assert record.energy_net_j is not None
    assert record.idle_power_w == pytest.approx(WATTS, rel=0.02)
    assert abs(record.energy_net_j.value) < 0.05 * record.energy_j.value


def test_a_model_that_does_not_fit_is_a_clear_fault(tmp_path: Path, bundle: Bundle) -> None:
    bench = Bench(tmp_path / "state", bundle, memory_bytes=48 << 20)
    with pytest.raises(RuntimeFault):
        bench.measure(bench.spec())
    assert workers() == []
    assert bench.measurements.lease("next", 30).token, "the board is free again"


def test_a_model_whose_process_is_killed_is_a_clear_fault(bench: Bench) -> None:
    async def run() -> None:
        async for event in bench.measurements.measure(bench.spec()):
            if getattr(event, "stage", "") == "measure":
                for worker in workers():
                    worker.kill()

    with pytest.raises(RuntimeFault, match="died while it was measured") as caught:
        asyncio.run(run())
    assert "smaller" in caught.value.hint
