"""A thousand boards, one in twenty ill: a rollout, a killed host, boards that come late.

    python benchmarks/bench_fleet.py [--boards 1000] [--processes 2] [--at-once 32]

What is real and what is light of a board: light_boards.py. The host is `edgetran` as users start
it, in a process of its own. Three acts:

1. `edgetran deploy --fleet` in waves 1, 10%, 100%; in the third wave the host is killed (SIGKILL).
2. `edgetran fleet resume` finishes it.
3. Absent and dead boards come (back); `edgetran fleet resume` brings them to the fleet's state.

Fails (status 1) when a board is lost, its end is not the one its illness allows, what it serves is
not what the ledger says, or a board was deployed to that served the bundle already.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "daemon"))

import tiny_bundle
from edgetran import AsyncBoard
from edgetran_devices import load_board, predict
from edgetran_protos.bundle import Bundle, Claim, Work
from light_boards import Asked, LightBoards, light_boards

ILL_SHARE = 0.05
ILLS = ("flaky", "slow", "dying", "absent", "wrong", "hot")
ALLOWED = {  # after the last act; "absent" and "dying" were started
    "wrong": {"refused"},
    "hot": {"rolled-back"},
}
WORK = Work(24.0, 0.0, 512.0, 48.0, 192.0, 8)  # the tiny bundle's
SEED = 7


def bundle_of(path: Path) -> Bundle:
    found = predict(load_board("nano").units["cpu"], WORK)
    claims = [
        Claim(name, value, None, None, False, "jetson-nano:cpu", tiny_bundle.VARIANT)
        for name, value in (
            ("latency_p50_s", found.latency_s),
            ("latency_p99_s", 2 * found.latency_s),
        )
    ]
    made: Bundle = tiny_bundle.make(path, 1, promised=claims, sequence=1)
    return made


def kinds_of(count: int) -> dict[str, str]:
    """One in twenty is ill, each kind alike; the first board is well: it is the first wave."""
    ill = random.Random(SEED).sample(range(1, count), max(len(ILLS), round(count * ILL_SHARE)))
    kinds = dict.fromkeys((f"board-{n}" for n in range(count)), "well")
    for place, number in enumerate(sorted(ill)):
        kinds[f"board-{number}"] = ILLS[place % len(ILLS)]
    return kinds


def write_fleet(path: Path, boards: LightBoards, names: list[str]) -> None:
    lines = ['name = "thousand"', 'model = "home"']
    for name in names:
        lines += ["[[boards]]", f'name = "{name}"', f'address = "{boards.address(name)}"']
    path.write_text("\n".join(lines))


class Host:
    """`edgetran` as a process; what it says is kept."""

    def __init__(self, *words: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "edgetran_host.cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
        )
        self.began_s = time.monotonic()

    def kill(self) -> None:
        self._child.send_signal(signal.SIGKILL)
        self._child.communicate()

    @property
    def ended(self) -> bool:
        return self._child.poll() is not None

    def finish(self) -> tuple[dict[str, Any], float]:
        """Its JSON and the seconds it took. A halted or unfinished rollout ends with 1."""
        told, _ = self._child.communicate()
        if self._child.returncode not in (0, 1) or not told:
            raise SystemExit(f"edgetran ended with {self._child.returncode}")
        return json.loads(told), time.monotonic() - self.began_s


def counts(fleet: Path) -> Counter[str]:
    """Board states by the ledger, while a host works."""
    from contextlib import closing

    from edgetran_host.fleet.ledger import Ledger
    from edgetran_host.fleet.running import ledger_path

    if not ledger_path(fleet).exists():
        return Counter()
    with closing(Ledger(ledger_path(fleet))) as ledger:
        last = ledger.last()
        return Counter(row.state for row in ledger.boards(last.id)) if last else Counter()


def killed_in_the_middle(host: Host, fleet: Path, count: int) -> None:
    while counts(fleet)["deployed"] < count / 2:
        if host.ended:
            raise SystemExit("the rollout ended before it could be killed")
        time.sleep(0.05)
    host.kill()


async def serving(addresses: dict[str, str]) -> dict[str, str]:
    """Board -> the digest that it serves, asked of the board; "" nothing, "?" no answer."""
    places = asyncio.Semaphore(32)

    async def ask(address: str) -> str:
        async with places, AsyncBoard(address) as board:
            try:
                found = await board.deployments()
            except Exception:
                return "?"
        return next((one.bundle_digest for one in found if one.model == "home"), "")

    return dict(zip(addresses, await asyncio.gather(*map(ask, addresses.values()))))


def faults(
    found: dict[str, Any],
    kinds: dict[str, str],
    served: dict[str, str],
    deploys: dict[str, int],
    digest: str,
    killed_at: Counter[str],
) -> list[str]:
    told = {one["name"]: one for one in found["boards"]}
    wrong = [f"{name} is lost" for name in kinds if name not in told]
    for name, one in told.items():
        kind, state = kinds[name], one["state"]
        if state not in ALLOWED.get(kind, {"deployed"}):
            wrong.append(f"{name} ({kind}) is {state}: {one['reason']}")
        if served[name] != (digest if state == "deployed" else ""):
            wrong.append(f"{name} ({kind}) is {state} and serves {served[name] or 'nothing'}")
    twice = [name for name in kinds if kinds[name] == "well" and deploys[name] > 1]
    if len(twice) > killed_at["deploying"]:  # those were cut off in the middle of theirs
        wrong.append(f"deployed to more than once: {', '.join(twice)}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--boards", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--at-once", default="32")
    parser.add_argument("--away", default="10")
    given = parser.parse_args()
    kinds = kinds_of(given.boards)
    print(f"{given.boards} boards: {dict(Counter(kinds.values()))}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fleet") as folder:
        sys.exit(played(Path(folder), kinds, given))


def played(folder: Path, kinds: dict[str, str], given: argparse.Namespace) -> int:
    bundle, fleet = bundle_of(folder / "bundle.tar"), folder / "fleet.toml"
    asked, began_s = [Asked(name, kind) for name, kind in kinds.items()], time.monotonic()
    (folder / "b").mkdir()
    with light_boards(folder / "b", asked, given.processes) as boards:
        started_s = time.monotonic() - began_s
        memory = boards.memory_bytes()
        print(
            f"boards: {given.processes} processes, started in {started_s:.0f} s, "
            f"{memory / 1e6:.0f} MB ({memory / 1e3 / len(kinds):.0f} kB each)",
            flush=True,
        )
        write_fleet(fleet, boards, list(kinds))
        pace = ("--at-once", given.at_once, "--away", given.away)
        words = ("deploy", "--fleet", str(fleet), "--bundle", str(bundle.path), "--json", *pace)
        host = Host(*words, "--waves", "1,10%,100%", "--max-failures", "30%")
        killed_in_the_middle(host, fleet, len(kinds))
        killed_s, at = time.monotonic() - host.began_s, counts(fleet)
        print(f"1. killed after {killed_s:.0f} s: {dict(at)}", flush=True)
        found, resumed_s = Host("fleet", "resume", str(fleet), "--json", *pace).finish()
        print(f"2. resumed in {resumed_s:.0f} s: {found['counts']}", flush=True)
        for name, kind in kinds.items():
            if kind in ("absent", "dying"):
                boards.start(name)
        found, late_s = Host("fleet", "resume", str(fleet), "--json", *pace).finish()
        print(f"3. late boards in {late_s:.0f} s: {found['counts']}", flush=True)
        served = asyncio.run(serving({name: boards.address(name) for name in kinds}))
        wrong = faults(found, kinds, served, boards.deploys(), bundle.digest, at)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        print(
            f"boards {boards.memory_bytes() / 1e6:.0f} MB, host at most {peak:.0f} MB, "
            f"{len(kinds) / (killed_s + resumed_s):.1f} boards a second, "
            f"{len(wrong)} faults"
        )
        for fault in wrong:
            print(f"FAULT {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
