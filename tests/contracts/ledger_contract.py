"""What every ledger keeps, whatever database it lies in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from edgetran.progress import Progress
from edgetran_host.ledger import Ledger

PATIENCE_S = 60.0
KEY = {"architecture": "a" * 64, "seed": 0, "recipe": {"learning_rate": 1.5e-4, "rows": None}}
PAYER = """
import json, os, sys, time
from pathlib import Path
from edgetran_host.ledger import Ledger

url, folder, key = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[5])
lease_s, work_s = float(sys.argv[3]), float(sys.argv[4])

def work():
    (folder / f"began-{os.getpid()}").touch()
    time.sleep(work_s)
    return {"by": os.getpid()}

ledger = Ledger(url, lease_s)
(folder / f"ready-{os.getpid()}").touch()
while not (folder / "go").exists():
    time.sleep(0.005)
found = ledger.pay("score", key, work)
print(json.dumps({"value": found.value, "now": found.now}))
"""


def payer(url: str, folder: Path, lease_s: float, work_s: float) -> subprocess.Popen[str]:
    """A process that wants the key once the file `go` is there."""
    words = [url, str(folder), str(lease_s), str(work_s), json.dumps(KEY)]
    return subprocess.Popen(
        [sys.executable, "-c", PAYER, *words], stdout=subprocess.PIPE, text=True
    )


def wait_for(folder: Path, pattern: str, count: int = 1) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while len(list(folder.glob(pattern))) < count:
        assert time.monotonic() < deadline_s, f"waited in vain for {pattern}"
        time.sleep(0.01)


class LedgerContract:
    @pytest.fixture
    def url(self) -> str:
        """Of an empty database."""
        raise NotImplementedError

    @pytest.fixture
    def ledger(self, url: str) -> Ledger:
        return Ledger(url)

    def test_what_was_paid_for_is_found(self, ledger: Ledger, url: str) -> None:
        calls = []

        def work() -> dict[str, object]:
            calls.append(1)
            return {"score": 0.75, "reasons": ["übung"], "energy_j": None}

        assert ledger.find("score", KEY) is None
        first = ledger.pay("score", KEY, work)
        again = Ledger(url).pay("score", dict(reversed(KEY.items())), work)
        assert (first.now, again.now) == (True, False)
        assert first.value == again.value == {"score": 0.75, "reasons": ["übung"], "energy_j": None}
        assert len(calls) == 1
        assert ledger.all("score") == [(KEY, first.value)]

    def test_kinds_and_keys_are_apart(self, ledger: Ledger) -> None:
        other = {**KEY, "seed": 1}
        for at, (kind, key) in enumerate((("score", KEY), ("cost", KEY), ("score", other))):
            assert ledger.pay(kind, key, lambda at=at: {"at": at}).value == {"at": at}
        assert [value["at"] for _, value in ledger.all("score")] == [0, 2]

    def test_what_fails_is_free_again(self, ledger: Ledger) -> None:
        def lost() -> dict[str, object]:
            raise ConnectionError("the board is away")

        with pytest.raises(ConnectionError):
            ledger.pay("cost", KEY, lost)
        assert ledger.all("cost") == []
        assert ledger.pay("cost", KEY, lambda: {"latency_s": 1.0}).now

    def test_a_second_thread_waits(self, ledger: Ledger) -> None:
        begun, events, found = threading.Event(), list[Progress](), []

        def slow() -> dict[str, object]:
            begun.set()
            while not events:
                time.sleep(0.01)
            return {"by": "slow"}

        one = threading.Thread(target=lambda: found.append(ledger.pay("score", KEY, slow)))
        one.start()
        assert begun.wait(PATIENCE_S)
        other = ledger.pay("score", KEY, lambda: {"by": "second"}, events.append)
        one.join(PATIENCE_S)
        assert other.value == found[0].value == {"by": "slow"}
        assert not other.now
        assert f"process {os.getpid()}" in events[0].detail

    def test_two_processes_race_and_one_pays(self, url: str, tmp_path: Path) -> None:
        racers = [payer(url, tmp_path, 30.0, 0.3) for _ in range(2)]
        wait_for(tmp_path, "ready-*", 2)
        (tmp_path / "go").touch()
        found = [json.loads(racer.communicate(timeout=PATIENCE_S)[0]) for racer in racers]
        assert sorted(one["now"] for one in found) == [False, True]
        assert found[0]["value"] == found[1]["value"]
        assert len(list(tmp_path.glob("began-*"))) == 1

    def test_a_killed_owner_is_followed_at_once(self, url: str, tmp_path: Path) -> None:
        """Its lease would last for an hour; but here everybody sees that it is dead."""
        (tmp_path / "go").touch()
        killed = payer(url, tmp_path, 3600.0, 3600.0)
        wait_for(tmp_path, "began-*")
        killed.send_signal(signal.SIGKILL)
        killed.wait(PATIENCE_S)
        found = Ledger(url).pay("score", KEY, lambda: {"by": "heir"})
        assert found.now
        assert found.value == {"by": "heir"}

    @pytest.mark.slow
    def test_a_lease_without_a_heartbeat_runs_out(self, url: str, tmp_path: Path) -> None:
        """A host that hangs, or is cut off: its process stands still, but is not dead."""
        (tmp_path / "go").touch()
        hanging = payer(url, tmp_path, 0.5, 3600.0)
        wait_for(tmp_path, "began-*")
        try:
            hanging.send_signal(signal.SIGSTOP)
            assert Ledger(url, lease_s=0.5).pay("score", KEY, lambda: {"by": "heir"}).now
        finally:
            hanging.kill()
            hanging.wait()

    def test_a_heartbeat_keeps_a_long_claim(self, url: str) -> None:
        ledger, begun, end = Ledger(url, lease_s=0.2), threading.Event(), threading.Event()

        def long() -> dict[str, object]:
            begun.set()
            end.wait(PATIENCE_S)
            return {"by": "first"}

        first = threading.Thread(target=lambda: ledger.pay("score", KEY, long))
        first.start()
        assert begun.wait(PATIENCE_S)
        second = threading.Thread(
            target=lambda: Ledger(url).pay("score", KEY, lambda: {"by": "second"})
        )
        second.start()
        second.join(0.8)  # several leases
        end.set()
        first.join(PATIENCE_S)
        second.join(PATIENCE_S)
        assert ledger.find("score", KEY) == {"by": "first"}

    def test_many_at_once(self, url: str) -> None:
        """Each of eight threads wants all of ten keys."""
        paid, lock = list[int](), threading.Lock()

        def want() -> None:
            ledger = Ledger(url)
            for at in range(10):

                def work(at: int = at) -> dict[str, object]:
                    with lock:
                        paid.append(at)
                    return {"at": at}

                assert ledger.pay("cost", {"at": at}, work).value == {"at": at}

        threads = [threading.Thread(target=want) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert sorted(paid) == list(range(10))
