"""A daemon killed at every point where its state changes, and started again.

Whatever the point: a working model serves, what the board acknowledged is there, and
nothing lies on the disk that no deployment names.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import edgetran_daemon
import grpc
import pytest
from edgetran.board import Board
from edgetran_daemon.deployment.restoration import MOST_STARTS
from edgetran_daemon.faults import POINTS, VARIABLE
from edgetran_host.signing import make_key, sign
from edgetran_protos.bundle import Bundle, parse_oci_manifest
from edgetran_protos.errors import EdgeTranError
from edgetran_protos.generated.edgetran.v1.deployment_pb2 import BlobRef, PutBlobRequest
from edgetran_protos.generated.edgetran.v1.deployment_pb2_grpc import DeploymentServiceStub

START_S = 30.0
OLD_S = 7 * 86400.0  # older than anything that is kept for a later resume
QUICK = ("blob-renamed", "ledger-renamed", "switch-written", "remove-written")
AT_START = tuple(name for name in POINTS if name.startswith(("lock-", "ready-")))
DAEMONS = tuple(name for name in POINTS if not name.startswith(("trust-", "certificate-")))
TEXTS = ["turn on the light", "heat on"]
WRITES = {"replace", "rename", "unlink", "fsync", "truncate", "write_bytes", "write_text"}


@dataclass
class Day:
    """What a client was told, and what it had asked for when the board died."""

    told: dict[str, str] = field(default_factory=dict)  # model -> digest
    asked: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def change(self, **models: str) -> Iterator[None]:
        """An empty digest: the model goes."""
        after = {**self.told, **models}
        self.asked = {model: digest for model, digest in after.items() if digest}
        yield
        self.told = self.asked


@dataclass(frozen=True)
class Bundles:
    first: Bundle
    second: Bundle
    third: Bundle


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundles:
    folder = tmp_path_factory.mktemp("bundles")
    made = [tiny.make(folder / f"{n}.tar", seed=n) for n in range(3)]
    make_key(folder / "key.pem")
    sign(made[1].path, folder / "key.pem")
    return Bundles(*made)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, bundles: Bundles) -> Path:
    """A state folder in which the first bundle serves as `home`."""
    state = tmp_path_factory.mktemp("deployed")
    with daemon(state) as process:
        with Board(await_ready(process, state)) as board:
            board.deploy(bundles.first, model="home")
        process.terminate()
        assert process.wait(20) == 0
    return state


@contextmanager
def daemon(state: Path, fault: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    ready = state / "ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    command += ["--state", str(state), "--ready-file", str(ready), "--threads", "1"]
    command += ["--watch", "0.2"]
    environment = dict(os.environ)
    if fault is not None:
        environment[VARIABLE] = str(fault)
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def await_ready(process: subprocess.Popen[bytes], state: Path) -> str:
    """The address; empty when it died before it served."""
    deadline = time.monotonic() + START_S
    while not (state / "ready.json").exists():
        if process.poll() is not None:
            return ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return str(json.loads((state / "ready.json").read_text())["address"])


def live(address: str, bundles: Bundles, day: Day) -> None:
    """Every change a client can ask for, one after the other."""
    with Board(address) as board:
        with day.change(home=bundles.second.digest):
            board.deploy(bundles.second, model="home", follow=True)
        with day.change(home=bundles.first.digest):
            board.rollback("home")
        with day.change(other=bundles.third.digest):
            board.deploy(bundles.third, model="other")
        send_wrong_bytes(address)
        with day.change(other=""):
            board.remove("other")
        with board.lease():
            pass


def send_wrong_bytes(address: str) -> None:
    ref = BlobRef(digest="sha256:" + "0" * 64, size_bytes=3)
    with grpc.insecure_channel(address) as channel, suppress(grpc.RpcError):
        DeploymentServiceStub(channel).PutBlob(iter([PutBlobRequest(blob=ref, chunk=b"abc")]))


def age(state: Path) -> None:
    """Everything was left a week ago."""
    then = time.time() - OLD_S
    for path in state.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def needed(state: Path) -> set[str]:
    """The files of a daemon that runs, by the ledger's account."""
    files = {"daemon.lock", "ready.json", "deployments.json"}
    files |= {"lease-token"} if (state / "lease-token").exists() else set()
    for names in json.loads((state / "deployments.json").read_text())["models"].values():
        for slot in filter(None, (names["current"], names["previous"])):
            manifest = blob(slot["bundle_digest"])
            files |= {manifest, *map(blob, digests(state / manifest))}
            signatures = (state / manifest).parent.glob(f"{Path(manifest).name}.*.sig")
            files |= {str(path.relative_to(state)) for path in signatures}
    return files


def digests(manifest: Path) -> list[str]:
    return [entry.digest for entry in parse_oci_manifest(manifest.read_bytes())]


def blob(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"


def files(state: Path) -> set[str]:
    return {str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DAEMONS],
)
def test_killed_there_it_loses_nothing(
    name: str, tmp_path: Path, deployed: Path, bundles: Bundles
) -> None:
    state, fault = tmp_path / "state", tmp_path / "fault"
    shutil.copytree(deployed, state)
    day = Day({"home": bundles.first.digest}, {"home": bundles.first.digest})
    if name in AT_START:
        fault.write_text(name)
    with daemon(state, fault) as process:
        address = await_ready(process, state)
        fault.write_text(name)
        if address:
            with suppress(EdgeTranError):
                live(address, bundles, day)
        assert process.wait(10) == -signal.SIGKILL, f"{name} was not reached"
    age(state)
    with daemon(state) as process:
        address = await_ready(process, state)
        assert address, "the daemon cannot start any more"
        with Board(address) as board:
            serving = {d.model: d.bundle_digest for d in board.deployments()}
            assert serving in (day.told, day.asked)
            for model, digest in serving.items():
                answer = board.answer(TEXTS, model)
                assert (answer.bundle_digest, len(answer.predictions)) == (digest, len(TEXTS))
            assert files(state) == needed(state)
            board.deploy(bundles.second, model="home")
            assert board.answer(TEXTS, "home").bundle_digest == bundles.second.digest


def test_every_function_that_changes_files_has_a_point() -> None:
    """A new write or rename in the daemon must be named, or it is not killed there."""
    without = [
        f"{path.name}:{function.name}"
        for path in sorted(Path(edgetran_daemon.__file__).parent.rglob("*.py"))
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        and called(function) & WRITES
        and "point" not in called(function)
        and f"{path.name}:{function.name}" not in HARMLESS
    ]
    assert without == []


HARMLESS = {  # touch files, and leave nothing that a restart could stumble over
    "blobs.py:__init__",
    "blobs.py:sync_folder",
    "certificates.py:make",
    "tensorrt.py:_keep",  # built again when it is not there, and goes with its graph
    "signatures.py:_make_room",  # what nobody trusts
    "signatures.py:add",
    "trust.py:_write",
    "trusted_signers.py:_write",
    "trusted_signers.py:remove",  # revoked first: what is both counts no longer
    "installing.py:_write",  # the service of the system, no state of the daemon
    "lease.py:__init__",
    "ledger.py:__init__",
    "server.py:_remove_ready_file",
}


def called(function: ast.FunctionDef) -> set[str]:
    """What the function calls; of `replace` and `rename` only the system's own."""
    found = {node.func for node in ast.walk(function) if isinstance(node, ast.Call)}
    names = {name.id for name in found if isinstance(name, ast.Name)} - WRITES
    for name in found:
        if isinstance(name, ast.Attribute):
            owner = name.value.id if isinstance(name.value, ast.Name) else ""
            if name.attr not in ("replace", "rename") or owner == "os":
                names.add(name.attr)
    return names


def start_and_die(state: Path, fault: Path) -> None:
    fault.write_text("ready-opened")  # when all models are loaded, before it serves
    with daemon(state, fault) as process:
        assert await_ready(process, state) == ""
        assert process.wait(10) == -signal.SIGKILL


def test_a_change_that_keeps_the_daemon_from_starting_is_taken_back(
    tmp_path: Path, deployed: Path, bundles: Bundles
) -> None:
    state = tmp_path / "state"
    shutil.copytree(deployed, state)
    with daemon(state) as process, Board(await_ready(process, state)) as board:
        board.deploy(
            bundles.second, model="home", follow=True
        )  # killed: one start that did not last
    for _ in range(MOST_STARTS - 2):
        start_and_die(state, tmp_path / "fault")
    with daemon(state) as process, Board(await_ready(process, state)) as board:
        assert board.answer(TEXTS, "home").bundle_digest == bundles.second.digest
    with daemon(state) as process, Board(await_ready(process, state)) as board:
        assert board.answer(TEXTS, "home").bundle_digest == bundles.first.digest
        assert "in a row" in board.deployments(history=True)[-1].reason


def test_with_nothing_to_go_back_to_the_daemon_serves_without_it_at_first(
    tmp_path: Path, deployed: Path, bundles: Bundles
) -> None:
    state = tmp_path / "state"
    shutil.copytree(deployed, state)
    for _ in range(MOST_STARTS):
        start_and_die(state, tmp_path / "fault")
    with daemon(state) as process, Board(await_ready(process, state)) as board:
        assert [d.state for d in board.deployments()] == ["failed"]
        board.deploy(bundles.second, model="home")
        assert board.answer(TEXTS, "home").bundle_digest == bundles.second.digest
