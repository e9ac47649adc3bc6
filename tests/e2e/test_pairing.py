"""From a code on the board to a client that it knows: real daemons, real certificates."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import edgetran
import grpc
import pytest
from edgetran import BoardError, BoardUnreachable, NotPermitted, paired, pairing
from edgetran_daemon.faults import POINTS, VARIABLE
from edgetran_daemon.main import main
from edgetran_daemon.security.certificates import Certificates, key_pem, new_key, pem, signed
from edgetran_host.signing import make_key
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import UsageError
from edgetran_protos.generated.edgetran.v1.pairing_pb2 import PairResponse
from edgetran_protos.generated.edgetran.v1.pairing_pb2_grpc import (
    PairingServiceServicer,
    add_PairingServiceServicer_to_server,
)
from edgetran_protos.pairing import SERVER_NAME, new_code

START_S = 30.0
WAITING = re.compile(r"waiting on (\S+);.*\ncode: (\S+)\n", re.DOTALL)
POINTS_OF_PAIRING = [name for name in POINTS if name.startswith(("trust-", "certificate-"))]

Home = Callable[[str], None]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Makes this process another machine's user; the first is `alice`."""

    def be(name: str) -> None:
        monkeypatch.setenv("EDGETRAN_HOME", str(tmp_path / name))

    be("alice")
    return be


@pytest.fixture
def bundle(tmp_path: Path, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path / "tiny.tar")
    return made


class Waiting:
    """`edgetran-daemon pair`, with the code on its screen."""

    def __init__(self, state: Path, *options: str, fault: Path | None = None) -> None:
        command = [sys.executable, "-m", "edgetran_daemon", "pair", "--state", str(state)]
        command += ["--listen", "127.0.0.1:0", *options]
        environment = dict(os.environ) if fault is None else {**os.environ, VARIABLE: str(fault)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        shown = self.process.stdout.readline() + self.process.stdout.readline()
        found = WAITING.fullmatch(shown)
        self.address, self.code = found.groups() if found else ("", "")


@contextmanager
def waiting(state: Path, *options: str, fault: Path | None = None) -> Iterator[Waiting]:
    found = Waiting(state, *options, fault=fault)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


@contextmanager
def guarded(state: Path) -> Iterator[str]:
    """The address of a daemon that knows its clients by their certificates."""
    ready = state / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0", "--tls"]
    command += ["--state", str(state), "--ready-file", str(ready), "--threads", "1"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield str(json.loads(ready.read_text())["address"])
    finally:
        process.terminate()
        process.wait(20)


def let_in(state: Path, address: str, role: str = "deploy", name: str = "alice") -> None:
    with waiting(state, "--role", role) as board:
        assert pairing.pair(address, board.code, at=board.address, name=name) == role
        assert board.process.wait(10) == 0


def test_a_paired_client_does_what_its_role_allows(state: Path, home: Home, bundle: Bundle) -> None:
    Certificates(state / "pairing").make()
    with guarded(state) as address:
        let_in(state, address)
        with edgetran.connect(address) as board:
            board.deploy(bundle, model="home")
            assert board.predict(["heat on"])[0].label
        home("bob")
        let_in(state, address, "infer", "bob")
        with edgetran.connect(address) as board:
            assert board.predict(["heat on"])[0].label
            for forbidden in (
                lambda: board.deploy(bundle),
                lambda: board.remove("home"),
                lambda: board.rollback("home"),
                lambda: board.discard(bundle.digest),
                lambda: board.measure([(bundle.digest, None)]),
                lambda: board.add_signer("mine", b""),
                lambda: board.remove_signer("mine"),
            ):
                with pytest.raises(NotPermitted, match="'infer'") as caught:
                    forbidden()
                assert "--role" in caught.value.hint
            assert [d.model for d in board.deployments()] == ["home"]


def test_whom_the_board_trusts_to_sign_is_for_admins(
    state: Path, home: Home, tmp_path: Path
) -> None:
    Certificates(state / "pairing").make()
    public, _ = make_key(tmp_path / "release.pem")
    with guarded(state) as address:
        let_in(state, address, "deploy")
        with edgetran.connect(address) as board, pytest.raises(NotPermitted, match="'deploy'"):
            board.add_signer("release", public.read_bytes())
        home("carol")
        let_in(state, address, "admin", "carol")
        with edgetran.connect(address) as board:
            board.add_signer("release", public.read_bytes())
            assert [one.name for one in board.signers().signers] == ["release"]


def test_by_hand_with_the_code_typed_at_the_prompt(
    state: Path, home: Home, bundle: Bundle, tmp_path: Path
) -> None:
    def edgetran_command(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "edgetran"), *words]
        return subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60)

    Certificates(state / "pairing").make()
    with guarded(state) as address:
        stranger = edgetran_command("device", "info", address)
        assert stranger.returncode == 1
        assert "edgetran device pair" in stranger.stderr
        with waiting(state, "--role", "deploy") as board:
            asked = ("device", "pair", address, "--at", board.address, "--name", "kitchen")
            wrong = edgetran_command(*asked, typed=f"{new_code()}\n")
            assert (wrong.returncode, "Traceback" in wrong.stderr) == (1, False)
            paired_now = edgetran_command(*asked, typed=f"{board.code.lower()}\n")
            assert paired_now.returncode == 0, paired_now.stderr
            assert "deploy" in paired_now.stdout
            assert board.process.wait(10) == 0
        for words in (("device", "info", "kitchen"), ("deploy", "--target", "kitchen", "--bundle")):
            more = [str(bundle.path)] if words[-1] == "--bundle" else []
            done = edgetran_command(*words, *more)
            assert done.returncode == 0, done.stderr
        fleet = tmp_path / "fleet.toml"  # its address is in the address book, its key with alice
        fleet.write_text('[[boards]]\nname = "kitchen"')
        asked = ("deploy", "--fleet", str(fleet), "--bundle", str(bundle.path), "--no-measure")
        done = edgetran_command(*asked)
        assert done.returncode == 0, done.stderr
        assert "1 deployed" in done.stdout


def test_who_is_revoked_is_refused_at_once(
    state: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    Certificates(state / "pairing").make()
    with guarded(state) as address:
        let_in(state, address)
        with edgetran.connect(address) as board:
            assert main(["pair", "--state", str(state), "--list"]) == 0
            assert capsys.readouterr().out == "alice\tdeploy\n"
            assert main(["pair", "--state", str(state), "--revoke", "alice"]) == 0
            with pytest.raises(NotPermitted, match="does not know"):
                board.describe()
        assert main(["pair", "--state", str(state), "--revoke", "alice"]) == 2


def test_strangers_do_not_get_through(state: Path, home: Home, tmp_path: Path) -> None:
    certificates = Certificates(state / "pairing")
    certificates.make()
    authority = certificates.read("authority.pem")
    with guarded(state) as address:
        with pytest.raises(BoardError):
            edgetran.connect(address)  # in clear
        for key, certificate in ((None, None), own_authority()):
            credentials = grpc.ssl_channel_credentials(authority, key, certificate)
            with grpc.secure_channel(address, credentials, options=[paired.OPTION]) as channel:
                call = channel.unary_unary("/edgetran.v1.DeviceService/Describe")
                with pytest.raises(grpc.RpcError) as caught:
                    call(b"", timeout=5)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def own_authority() -> tuple[bytes, bytes]:
    """A client that signed its certificate itself."""
    key = new_key()
    return key_pem(key), pem(signed(key, "mallory", key, None))


def test_a_board_that_is_not_the_paired_one_is_not_talked_to(
    state: Path, home: Home, tmp_path: Path
) -> None:
    Certificates(state / "pairing").make()
    with guarded(state) as address:
        let_in(state, address)
        other = Certificates(tmp_path / "other")
        other.make()
        known = paired.find(address)
        assert known is not None
        paired.keep(
            address, paired.Paired(other.read("authority.pem"), known.certificate, known.key)
        )
        with pytest.raises(BoardUnreachable):
            edgetran.connect(address)


def test_three_wrong_codes_end_it(state: Path, home: Home) -> None:
    with waiting(state) as board:
        for left in ("2 tries", "1 tries", "new code"):
            with pytest.raises(NotPermitted, match="wrong") as caught:
                pairing.pair("127.0.0.1:1", new_code(), at=board.address)
            assert left in caught.value.hint
        assert board.process.wait(10) == 1
    assert paired.find("127.0.0.1:1") is None
    assert not (state / "pairing" / "trust.json").exists()


def test_letters_that_look_alike_are_one(state: Path, home: Home) -> None:
    with waiting(state) as board:
        typed = board.code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
        assert pairing.pair("127.0.0.1:1", typed, at=board.address) == "deploy"
    found = paired.find("127.0.0.1:1")
    assert found is not None
    folder = Path(os.environ["EDGETRAN_HOME"]) / "paired"
    (kept,) = folder.iterdir()
    assert {path.stat().st_mode & 0o077 for path in (kept, *kept.iterdir())} == {0}
    assert {p.stat().st_mode & 0o077 for p in (state / "pairing").iterdir()} == {0}


class Pretender(PairingServiceServicer):
    """Stands at the board's address and says yes to every code."""

    def Pair(self, request: object, context: object) -> PairResponse:
        key, certificate = own_authority()
        return PairResponse(certificate=certificate, authority=certificate, role="admin", proof=key)


def test_who_does_not_know_the_code_is_no_board(home: Home) -> None:
    key = new_key()
    certificate = pem(signed(key, SERVER_NAME, key, None))
    server = grpc.server(ThreadPoolExecutor(1))
    add_PairingServiceServicer_to_server(Pretender(), server)
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(key_pem(key), certificate)])
    )
    server.start()
    try:
        with pytest.raises(NotPermitted, match="does not know the code"):
            pairing.pair("127.0.0.1:1", new_code(), at=f"127.0.0.1:{port}")
    finally:
        server.stop(None)
    assert paired.find("127.0.0.1:1") is None


def test_beyond_this_machine_nothing_is_served_in_clear(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--listen", "0.0.0.0:0", "--state", str(state)]) == 2
    assert "edgetran-daemon pair" in capsys.readouterr().err
    assert main(["--listen", "127.0.0.1:0", "--tls", "--state", str(state)]) == 2
    assert "edgetran-daemon pair" in capsys.readouterr().err


@pytest.mark.parametrize(
    "request_pem", [b"", b"\xff" * 100, b"-----BEGIN CERTIFICATE REQUEST-----"]
)
def test_signing_requests_that_are_none(tmp_path: Path, request_pem: bytes) -> None:
    certificates = Certificates(tmp_path)
    certificates.make()
    with pytest.raises(UsageError):
        certificates.sign(request_pem)


@pytest.mark.parametrize(
    "name",
    [
        name if name == "trust-renamed" else pytest.param(name, marks=pytest.mark.slow)
        for name in POINTS_OF_PAIRING
    ],
)
def test_killed_while_pairing_it_can_be_done_again(
    name: str, state: Path, home: Home, tmp_path: Path
) -> None:
    fault = tmp_path / "fault"
    fault.write_text(name)
    with waiting(state, fault=fault) as board:
        if board.address:
            with pytest.raises(BoardError):
                pairing.pair("127.0.0.1:1", board.code, at=board.address)
        assert board.process.wait(10) == -signal.SIGKILL
    with waiting(state) as board:
        assert pairing.pair("127.0.0.1:1", board.code, at=board.address) == "deploy"
        assert board.process.wait(10) == 0
    left = {path.name for path in (state / "pairing").iterdir()}
    assert left == {"authority.key", "authority.pem", "daemon.key", "daemon.pem", "trust.json"}
