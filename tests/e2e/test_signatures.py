"""Who may have models on a board: signed bundles, real daemons, keys that come and go."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from edgetran import BundleUntrusted, NotPermitted, OlderBundle, UsageError, connect_async
from edgetran.board import Board
from edgetran_host.cli.deploy import deploy
from edgetran_host.cli.device import device
from edgetran_host.job.running import check_takes_unsigned
from edgetran_host.signing import make_key, sign
from edgetran_protos.bundle import Bundle, model_name, write_bundle

pytest.importorskip("model_signing", reason="pip install 'edgetran-host[sign]'")

START_S = 30.0
TEXTS = ["heat on"]

Make = Callable[..., Bundle]


@dataclasses.dataclass(frozen=True)
class Running:
    board: Board
    address: str
    process: subprocess.Popen[bytes]
    signers: Path

    def trust(self, key: Path) -> None:
        """As the board's operator does it."""
        self.signers.mkdir(exist_ok=True)
        shutil.copy(key.with_suffix(".pub"), self.signers / f"{key.stem}.pem")

    def serving(self) -> dict[str, str]:
        """model -> who signed what serves"""
        return {d.model: d.signed_by for d in self.board.deployments() if d.state == "serving"}


@contextmanager
def running(state: Path, *options: str) -> Iterator[Running]:
    ready = state / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0", "--watch", "0"]
    command += ["--state", str(state), "--ready-file", str(ready), "--threads", "1", *options]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        address = str(json.loads(ready.read_text())["address"])
        with Board(address) as board:
            yield Running(board, address, process, state / "signers")
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A board that asks for signatures; every test trusts keys of its own."""
    state = tmp_path_factory.mktemp("board") / "state"
    with running(state, "--require-signature", "--anti-rollback") as found:
        yield found


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], Path]:
    def key(name: str) -> Path:
        path = tmp_path / f"{name}.pem"
        if not path.exists():
            make_key(path)
        return path

    return key


@pytest.fixture
def make(tmp_path: Path, tiny: ModuleType, request: pytest.FixtureRequest) -> Make:
    """A bundle of the test's own, signed with each of the keys."""

    def made(seed: int, *signed: Path, **options: Any) -> Bundle:
        name = model_name(request.node.name)
        (tmp_path / f"{seed}.tar").unlink(missing_ok=True)  # it would keep its signatures
        bundle = tiny.make(tmp_path / f"{seed}.tar", seed=seed, name=name, **options)
        for key in signed:
            sign(bundle.path, key)
        return Bundle.open(bundle.path)

    return made


def refused(board: Running, bundle: Bundle, why: str, model: str = "home") -> None:
    with pytest.raises(BundleUntrusted, match=why) as found:
        board.board.deploy(bundle, model=model)
    assert found.value.hint


def test_only_what_a_trusted_key_signed_is_loaded(
    strict: Running, keys: Callable[[str], Path], make: Make
) -> None:
    before = len(psutil.Process(strict.process.pid).children(recursive=True))
    strict.trust(keys("release"))
    refused(strict, make(1), "not signed", "one")
    with pytest.raises(BundleUntrusted, match="not signed"):
        strict.board.measure([(make(1), None)])
    refused(strict, make(2, keys("stranger")), "key that is not trusted", "one")
    assert "not trusted" in strict.board.deployments(history=True)[-1].reason
    assert len(psutil.Process(strict.process.pid).children(recursive=True)) == before
    steps: list[str] = []
    deployed = strict.board.deploy(
        make(3, keys("stranger"), keys("release")),
        model="one",
        on_progress=lambda step: steps.append(step.detail),
    )
    assert deployed.signed_by == strict.serving()["one"] == "release"
    assert any("signed by release" in step for step in steps)
    assert strict.board.predict(TEXTS, "one")[0].label
    assert strict.board.measure([(make(3, keys("release")), None)], runs=2, blocks=2)


def test_signatures_are_sent_on_an_event_loop_too(
    strict: Running, keys: Callable[[str], Path], make: Make
) -> None:
    strict.trust(keys("loop"))
    bundle = make(1, keys("loop"))

    async def work() -> str:
        async with connect_async(strict.address) as board:
            return (await board.deploy(bundle, model="loop")).signed_by

    assert asyncio.run(work()) == "loop"


def test_a_signature_sent_later_counts(
    strict: Running, keys: Callable[[str], Path], make: Make
) -> None:
    """The bundle is on the board already, and so are eight signatures of nobody."""
    strict.trust(keys("late"))
    bundle = make(1, *(keys(f"stranger-{n}") for n in range(8)))
    refused(strict, bundle, "not trusted", "late")
    plain = make(1)
    sign(plain.path, keys("late"))
    assert strict.board.deploy(Bundle.open(plain.path), model="late").signed_by == "late"


def test_a_bundle_that_was_changed_is_refused(
    strict: Running, keys: Callable[[str], Path], make: Make, tmp_path: Path
) -> None:
    """The release number, too, which says what is older, is under the signature."""
    strict.trust(keys("k"))
    old = make(1, keys("k"), sequence=5)
    strict.board.deploy(make(2, keys("k"), sequence=6), model="numbered")
    with pytest.raises(OlderBundle):
        strict.board.deploy(old, model="numbered", allow_older=True)
    files = {
        blob.file: (blob.media_type, old.read(blob.digest))
        for blob in old.blobs
        if blob.file and blob.file != "edgetran.json"
    }
    card = dataclasses.replace(old.card, sequence=7)
    forged = write_bundle(tmp_path / "forged", card, files)
    signatures = tmp_path / "signed"
    shutil.unpack_archive(old.path, signatures)
    shutil.copytree(signatures / "signatures", forged.path / "signatures")
    refused(strict, Bundle.open(forged.path), "not of these files", "numbered")


def test_a_new_key_takes_over_from_an_old_one(
    strict: Running, keys: Callable[[str], Path], make: Make
) -> None:
    board, old, new = strict.board, keys("old"), keys("new")
    strict.trust(old)
    first = make(1, old)
    board.deploy(first, model="rotated")
    board.deploy(make(2, old, new), model="rotated")  # an overlap: boards know one or both
    assert strict.serving()["rotated"] == "old"
    added = board.add_signer("new", new.with_suffix(".pub").read_bytes())
    assert [(one.name, one.kind, one.revoked) for one in added] == [("new", "key", False)]
    board.deploy(make(3, new), model="rotated")
    assert strict.serving()["rotated"] == "new"
    board.remove_signer("old", revoke=True)
    refused(strict, first, "revoked", "rotated")
    assert board.deploy(make(4, old, new), model="rotated").signed_by == "new"
    known = {one.name: one.revoked for one in board.signers().signers}
    assert (known["old"], known["new"]) == (True, False)
    with pytest.raises(UsageError, match="was revoked"):
        board.add_signer("again", old.with_suffix(".pub").read_bytes())
    with pytest.raises(UsageError, match="private key"):
        board.add_signer("oops", new.read_bytes())
    with pytest.raises(UsageError, match="too large"):
        board.add_signer("oops", b"#" * (1 << 20) + new.with_suffix(".pub").read_bytes())
    with pytest.raises(UsageError, match="neither a public key"):
        board.add_signer("oops", b"hello")
    with pytest.raises(UsageError, match="trusted already"):
        board.add_signer("new", new.with_suffix(".pub").read_bytes())
    with pytest.raises(UsageError, match="no signer"):
        board.remove_signer("old")


def test_the_commands(strict: Running, keys: Callable[[str], Path]) -> None:
    def asked(*words: str) -> str:
        done = CliRunner().invoke(device, ["trust", *words])
        assert done.exit_code == 0, done.exception
        return done.output

    public = str(keys("typed").with_suffix(".pub"))
    assert "trusts typed, a key" in asked("add", strict.address, public)
    listed = asked("list", strict.address)
    assert "only bundles that one of these signed" in listed
    assert "typed" in listed
    assert "refuses it" in asked("remove", strict.address, "typed", "--revoke")
    told = json.loads(asked("list", strict.address, "--json"))
    assert [one["revoked"] for one in told["signers"] if one["name"] == "typed"] == [True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be another user")
def test_another_user_of_the_machine_changes_nothing(
    strict: Running, keys: Callable[[str], Path]
) -> None:
    """Over loopback there are no roles: the kernel tells whose connection it is."""
    public = keys("intruder").with_suffix(".pub").read_text()
    told = f"""
import os, sys
from edgetran import NotPermitted
from edgetran.board import Board
os.setuid(65533)
with Board({strict.address!r}) as board:
    print(len(board.signers().signers))
    for change in (lambda: board.add_signer("x", {public.encode()!r}),
                   lambda: board.remove_signer("x")):
        try:
            change()
        except NotPermitted as exc:
            print(exc.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", told],
        env={**os.environ, "EDGETRAN_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("role admin") == 2
    assert "x" not in {one.name for one in strict.board.signers().signers}


def test_a_search_is_refused_before_it_begins(strict: Running) -> None:
    with pytest.raises(UsageError, match="nobody signed") as found:
        check_takes_unsigned(strict.board)
    assert "bundle sign" in found.value.hint


def test_signatures_go_with_their_bundle(
    strict: Running, keys: Callable[[str], Path], make: Make
) -> None:
    strict.trust(keys("gone"))
    bundle = make(1, keys("gone"))
    strict.board.deploy(bundle, model="gone")
    blobs = strict.signers.parent / "blobs" / "sha256"
    own = f"{bundle.digest.removeprefix('sha256:')}.*.sig"
    assert len(list(blobs.glob(own))) == 1
    strict.board.remove("gone")
    assert not list(blobs.glob(own))


def test_after_a_restart_a_revoked_keys_model_does_not_serve(
    keys: Callable[[str], Path], make: Make, tmp_path: Path
) -> None:
    state, old, new = tmp_path / "state", keys("old"), keys("new")
    with running(state) as board:  # asks for nothing yet
        board.trust(old), board.trust(new)
        assert board.board.deploy(make(1), model="plain").signed_by == ""
        board.board.deploy(make(2, new), model="back")
        board.board.deploy(make(3, old), model="back")
        board.board.deploy(make(4, keys("stranger")), model="other")
        assert board.serving() == {"plain": "", "back": "old", "other": ""}
        board.board.remove_signer("old", revoke=True)
        assert board.serving()["back"] == "old"  # goes on until it is loaded again
    with running(state, "--require-signature") as board:
        assert board.serving() == {"back": "new"}
        reasons = {d.model: d.reason for d in board.board.deployments(history=True)}
        assert "revoked" in reasons["back"]
        assert board.board.predict(TEXTS, "back")[0].label
        with pytest.raises(UsageError):
            board.board.rollback("back")


def test_whom_nobody_can_tell_changes_nothing(tmp_path: Path) -> None:
    from edgetran_daemon.security.callers import Callers
    from edgetran_daemon.security.trusted_signers import TrustedSigners

    make_key(tmp_path / "k.pem")
    signers = TrustedSigners(tmp_path / "signers", Callers("127.0.0.1"))
    with pytest.raises(NotPermitted, match="operator"):
        signers.add("k", (tmp_path / "k.pub").read_bytes(), "ipv4:127.0.0.1:1")
    assert signers.all() == []


def test_a_fleet_of_boards_that_ask_for_signatures(
    keys: Callable[[str], Path], make: Make, tmp_path: Path
) -> None:
    """What a board refuses it says, and halts the rollout; a trusted key mends it."""
    release = keys("release")
    unsigned, signed = make(1, sequence=1), make(2, release, sequence=2)
    strict = "--require-signature"
    with running(tmp_path / "a", strict) as one, running(tmp_path / "b", strict) as two:
        one.trust(release)
        path = tmp_path / "fleet.toml"
        boards = {"one": one.address, "two": two.address}
        path.write_text(
            "".join(f'[[boards]]\nname="{n}"\naddress="{a}"\n' for n, a in boards.items())
        )

        def sent(bundle: Bundle) -> dict[str, dict[str, Any]]:
            given = ["--fleet", str(path), "--json", "--no-measure", "--bundle", str(bundle.path)]
            done = CliRunner().invoke(deploy, [*given, "--name", "home"])
            return {told["name"]: told for told in json.loads(done.stdout)["boards"]}

        found = sent(unsigned)
        assert [found[name]["state"] for name in ("one", "two")] == ["refused", "waiting"]
        assert "not signed" in found["one"]["reason"]
        found = sent(signed)
        assert [found[name]["state"] for name in ("one", "two")] == ["deployed", "refused"]
        assert "not trusted" in found["two"]["reason"]
        assert (one.serving(), two.serving()) == ({"home": "release"}, {})
        two.trust(release)
        found = sent(signed)
        assert [found[name]["state"] for name in ("one", "two")] == ["deployed", "deployed"]
        assert two.serving() == {"home": "release"}
