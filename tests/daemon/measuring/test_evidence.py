"""What a machine says of cores, clocks and neighbours, from the files of such machines."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from edgetran_daemon.board.board import usable_cores
from edgetran_daemon.board.kind import kind_of_machine
from edgetran_daemon.measuring.cores import Accounts, clock_khz, governors, quiet_cores
from edgetran_daemon.measuring.recording import sensor_of
from edgetran_daemon.measuring.watching import Watch
from edgetran_daemon.sensors import PowerSensor
from edgetran_daemon.sensors.base import Reading
from edgetran_daemon.sensors.contract import BOARD, PACKAGE, Contract
from edgetran_devices import load_board
from edgetran_protos.measuring.series import UNKNOWN

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def proc(root: Path, threads: dict[int, tuple[int, int]], busy: int, steal: int = 0) -> None:
    """A process 7 with these threads (on a core, waiting), and two cores in /proc/stat."""
    for thread, (ran, waited) in threads.items():
        write(root / "7" / "task" / str(thread) / "schedstat", f"{ran} {waited} 5\n")
    core = f"{busy} 0 0 1000 50 0 0 {steal} 0 0"
    write(root / "stat", f"cpu  1 2 3\ncpu0 {core}\ncpu1 9 9 9 9 9 9 9 9 0 0\nintr 1\n")


def test_time_is_shared_out_among_those_who_took_it(tmp_path: Path) -> None:
    proc(tmp_path, {7: (100, 10), 8: (200, 20)}, busy=50)
    accounts = Accounts(7, (0,), tmp_path)
    worked_ns = 30 * TICK_NS
    proc(tmp_path, {7: (100 + worked_ns, 15), 8: (200, 27)}, busy=50 + 34, steal=2)
    spent = accounts.spent()
    assert spent.waited_ns == 12
    assert spent.others_ns == 6 * TICK_NS, "36 ticks were busy or stolen, 30 were the worker's"
    assert spent.observer_ns >= 0


def test_a_machine_that_does_not_tell_says_so(tmp_path: Path) -> None:
    assert Accounts(7, (0,), tmp_path).spent().waited_ns == UNKNOWN
    proc(tmp_path, {7: (1, 1)}, busy=1)
    unpinned = Accounts(7, (), tmp_path).spent()
    assert (unpinned.waited_ns, unpinned.others_ns) == (0, UNKNOWN)
    gone = Accounts(7, (0,), tmp_path)
    (tmp_path / "7" / "task" / "7" / "schedstat").write_text("")
    assert gone.spent().waited_ns == UNKNOWN
    assert clock_khz((0,), tmp_path) == UNKNOWN
    assert governors((0,), tmp_path) == ()


def test_clock_and_governors_are_those_of_the_cores_in_use(tmp_path: Path) -> None:
    for core, (clock, governor) in enumerate([(1500, "performance"), (600, "ondemand")]):
        folder = tmp_path / "devices" / "system" / "cpu" / f"cpu{core}" / "cpufreq"
        write(folder / "scaling_cur_freq", f"{clock}\n")
        write(folder / "scaling_governor", f"{governor}\n")
    assert (clock_khz((0,), tmp_path), governors((0,), tmp_path)) == (1500, ("performance",))
    assert clock_khz((0, 1), tmp_path) == 600
    assert governors((0, 1), tmp_path) == ("ondemand", "performance")


def test_as_many_cores_as_threads_or_none() -> None:
    own = os.sched_getaffinity(0)
    for threads in range(1, usable_cores() + 1):
        found = quiet_cores(threads, look_s=0.01)
        assert len(set(found)) == threads
        assert set(found) <= own
    assert quiet_cores(usable_cores() + 1) == ()
    assert quiet_cores(0) == ()


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (b"Raspberry Pi 4 Model B Rev 1.4\0", "rpi4"),
        (b"NVIDIA Jetson Nano Developer Kit\0", "jetson-nano"),
        (b"Raspberry Pi 400 Rev 1.0\0", None),
        (b"NVIDIA Orin Nano Developer Kit\0", None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_a_board_is_known_by_its_device_tree(
    tmp_path: Path, model: bytes, wanted: str | None
) -> None:
    (tmp_path / "model").write_bytes(model)
    found = kind_of_machine(tmp_path / "model")
    assert (found.id if found else None) == wanted
    assert kind_of_machine(tmp_path / "none") is None


class Fixed(PowerSensor):
    name = "fixed"

    def __init__(self, scope: str) -> None:
        super().__init__()
        self._scope = scope
        self.seen = 0

    @property
    def contract(self) -> Contract:
        return Contract(self._scope, "all", 100.0, 50.0, "this machine's", "none")

    def unavailable(self) -> str:
        return ""

    def _read(self) -> Reading:
        self.seen += 1
        return Reading(self._clock(), float(self.seen))


def test_only_a_whole_boards_power_is_compared_with_its_kind() -> None:
    kind = load_board("rpi4")
    unit = kind.units["cpu"]
    found = sensor_of(Fixed(BOARD), 2, kind)
    assert found is not None
    assert found.idle_w == unit.idle_w
    assert found.load_w == pytest.approx((unit.idle_w + unit.active_w) / 2), "half of its cores"
    for sensor, other in ((Fixed(PACKAGE), kind), (Fixed(BOARD), None)):
        told = sensor_of(sensor, 2, other)
        assert told is not None
        assert (told.idle_w, told.load_w) == (None, None)
    assert sensor_of(None, 1, kind) is None


def test_a_watch_covers_what_runs_inside_from_both_sides() -> None:
    async def run() -> list[tuple[float, float, Watch]]:
        sensor, found = Fixed(BOARD), []
        for _ in range(2):
            async with Watch(sensor, (0,)) as watch:
                begun_s = sensor._clock()
                await asyncio.sleep(0.05)
                ended_s = sensor._clock()
            found.append((begun_s, ended_s, watch))
        return found

    readings: list[int] = []
    for begun_s, ended_s, watch in asyncio.run(run()):
        at_ns = list(watch.columns["power_ns"])
        assert at_ns[0] / 1e9 <= begun_s
        assert at_ns[-1] / 1e9 >= ended_s
        assert len(watch.columns["seen_ns"]) >= 2
        assert len(watch.columns["seen_unix_ns"]) == len(watch.columns["seen_ns"])
        readings += watch.columns["power_value"]
    assert readings == sorted(set(readings)), "each once, in order"
