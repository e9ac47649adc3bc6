"""The commands that talk to boards, as a user runs them, with bad input and bad luck."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from edgetran_protos.bundle import (
    MEDIA_WEIGHT_CONFIG,
    MEDIA_WEIGHTS,
    Bundle,
    write_bundle,
)

BIN = Path(sys.executable).parent
START_S = 30.0
MEBI = 1 << 20
PROGRESS = re.compile(r"\w+ +\d+%  \d+ s")
ABSENT = "127.0.0.1:9"  # the port of "discard", which no test machine serves


@dataclass
class Done:
    """One command that ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """A user's shell with an EDGETRAN_HOME of its own."""

    home: Path
    started: list[int] = field(default_factory=list)

    def edgetran(self, *words: str | bytes, stdin: bytes = b"", status: int = 0) -> Done:
        command = [str(BIN / "edgetran"), *words]
        environment = {**os.environ, "EDGETRAN_HOME": str(self.home), "COLUMNS": "100"}
        done = subprocess.run(
            command, input=stdin, env=environment, capture_output=True, timeout=60, check=False
        )
        found = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in found.err, found.err
        assert found.status == status, found
        return found

    def refused(self, *words: str | bytes, stdin: bytes = b"") -> str:
        """The one line of a command that must fail; its hint must follow."""
        done = self.edgetran(*words, stdin=stdin, status=1)
        assert done.out == ""
        *progress, line, hint = done.err.splitlines()
        assert all(PROGRESS.match(one) for one in progress), done.err
        assert line.startswith("error: "), done.err
        assert hint.startswith(" hint: "), done.err
        return f"{line}\n{hint}"

    def stop_boards(self) -> None:
        for ready in self.home.glob("boards/*/ready.json"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """One home for the tests that only look: a daemon is started once."""
    found = Shell(tmp_path_factory.mktemp("home"))
    yield found
    found.stop_boards()


@pytest.fixture
def own_shell(tmp_path: Path) -> Iterator[Shell]:
    found = Shell(tmp_path / "home")
    yield found
    found.stop_boards()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "tiny.tar")
    return made


@pytest.fixture(scope="module")
def nano(shell: Shell, bundle: Bundle) -> str:
    """The target of an emulated board that serves the tiny bundle."""
    words = ("--target", "nano", "--bundle", str(bundle.path), "--threads", "1")
    shell.edgetran("deploy", *words)
    return "nano"


@dataclass
class Daemon:
    process: subprocess.Popen[bytes]
    address: str
    state: Path

    def blobs(self) -> dict[str, bytes]:
        folder = self.state / "blobs" / "sha256"
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def partials(self) -> list[Path]:
        return list((self.state / "partial").iterdir())


@contextlib.contextmanager
def daemon(state: Path, *options: str, file_limit: int | None = None) -> Iterator[Daemon]:
    """A board on loopback, not the SDK's own; file_limit: the largest file it may write."""
    ready = state.parent / f"{state.name}-ready.json"
    ready.unlink(missing_ok=True)  # of one that was killed
    command = [str(BIN / "edgetran-daemon"), "--listen", "127.0.0.1:0", "--state", str(state)]
    command += ["--ready-file", str(ready), "--threads", "1", *options]

    def limit() -> None:
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=limit)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None, "the daemon ended early"
            assert time.monotonic() < deadline, "the daemon is not ready"
            time.sleep(0.02)
        yield Daemon(process, json.loads(ready.read_text())["address"], state)
    finally:
        process.terminate()
        process.wait(20)


# --- what works ---


def test_devices_are_listed(shell: Shell) -> None:
    rows = {row["name"]: row for row in shell.edgetran("device", "list", "--json").json}
    assert rows["jetson-nano"]["emulated"] is True
    assert "nano" in rows["jetson-nano"]["aliases"]
    assert rows["local"]["emulated"] is False
    table = shell.edgetran("device", "list").out
    assert "emulated here" in table
    assert all(len(line) <= 100 for line in table.splitlines())
    assert len(table.splitlines()) == len(rows) + 1, "a line a board"


def test_a_board_says_what_it_is(shell: Shell, nano: str) -> None:
    info = shell.edgetran("device", "info", nano, "--threads", "1", "--json").json
    assert (info["board"], info["unit"], info["emulated"]) == ("jetson-nano", "cpu", True)
    assert (info["threads"], info["deployments"][0]["state"]) == (1, "serving")
    there = shell.edgetran("device", "info", info["address"], "--json").json
    assert there["deployments"][0]["since_unix_s"] == info["deployments"][0]["since_unix_s"]
    text = shell.edgetran("device", "info", nano).out
    assert info["address"] in text
    for word in ("EMULATED", "NVIDIA Jetson Nano", "onnxruntime", "tiny", "serving"):
        assert word in text


def test_sentences_get_answers(shell: Shell, nano: str, tiny: ModuleType) -> None:
    texts = ["turn on the light", "heat on"]
    logits = tiny.reference(tiny.encode([[text] for text in texts]))
    labels = [tiny.LABELS[i] for i in logits.argmax(axis=1)]
    told = shell.edgetran("infer", nano, *texts, "--json").json
    assert told["emulated"] is True
    assert [(p["text"], p["label"]) for p in told["predictions"]] == list(zip(texts, labels))
    assert told["predictions"][0]["score"] == max(told["predictions"][0]["scores"].values())
    lines = shell.edgetran("infer", nano, *texts, "--threads", "1").out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == labels
    assert "emulated" in lines[2]


def test_lines_of_a_file_get_answers(shell: Shell, nano: str) -> None:
    text = "\ufeffheat on\r\n\n   \nplay music\u2028off\n" + "turn on the light\n" * 200
    told = shell.edgetran("infer", nano, "--json", stdin=text.encode()).json["predictions"]
    assert [p["text"] for p in told[:2]] == ["heat on", "play music\u2028off"]
    assert len(told) == 202, "more than one request may carry"
    assert len({p["label"] for p in told[2:]}) == 1


def test_pairs_get_answers(shell: Shell, nano: str, tiny: ModuleType) -> None:
    told = shell.edgetran("infer", nano, "play", "--pair", "the music", "--json").json
    (one,) = told["predictions"]
    assert (one["text"], one["text_pair"]) == ("play", "the music")
    logits = tiny.reference(tiny.encode([["play", "the music"]]))
    assert one["label"] == tiny.LABELS[int(logits.argmax())]


def test_a_long_answer_stays_on_one_line(shell: Shell, nano: str) -> None:
    lines = shell.edgetran("infer", nano, "light " * 60).out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("light light ")


def test_a_bundle_is_deployed_and_says_on_what(shell: Shell, nano: str, bundle: Bundle) -> None:
    words = ("deploy", "--target", nano, "--bundle", str(bundle.path), "--name", "again")
    done = shell.edgetran(*words)
    assert "again serves on NVIDIA Jetson Nano 4 GB [EMULATED]" in done.out
    told = shell.edgetran(*words, "--json").json
    assert told["emulated"] is True
    assert told["deployment"]["bundle_digest"] == bundle.digest
    assert (told["deployment"]["model"], told["deployment"]["state"]) == ("again", "serving")


def test_an_older_bundle_serves_only_when_it_is_allowed_to(
    own_shell: Shell, tiny: ModuleType, tmp_path: Path
) -> None:
    with daemon(tmp_path / "state", "--emulate", "nano", "--watch", "0") as board:
        older, newer = (
            tiny.make(tmp_path / f"{number}.tar", seed=number, sequence=number) for number in (3, 4)
        )

        def deploy(bundle: Bundle) -> tuple[str, ...]:
            return "deploy", "--target", board.address, "--bundle", str(bundle.path)

        own_shell.edgetran(*deploy(newer))
        assert "older" in own_shell.refused(*deploy(older))
        done = own_shell.edgetran(*deploy(older), "--allow-older", "--json")
        assert done.json["deployment"]["bundle_digest"] == older.digest


def test_boards_are_remembered_and_forgotten(own_shell: Shell, tmp_path: Path) -> None:
    published = ("--emulate", "rpi4", "--calibration", "protran-2022")
    with daemon(tmp_path / "state", *published) as board:
        told = own_shell.edgetran("device", "add", "kitchen", board.address, "--json").json
        assert told == {
            "name": "kitchen",
            "address": board.address,
            "board": "rpi4",
            "emulated": True,
            "calibration": "protran-2022",
        }
        line = own_shell.edgetran("device", "add", "nano", board.address).out
        assert "[EMULATED, protran-2022]" in line
        assert "calibration: protran-2022" in own_shell.edgetran("device", "info", "kitchen").out
        rows = {row["name"]: row for row in own_shell.edgetran("device", "list", "--json").json}
        for name in ("kitchen", "nano"):
            assert (rows[name]["address"], rows[name]["emulated"]) == (board.address, None)
        assert "nano" not in rows["jetson-nano"]["aliases"], "the user's own name hides it"
        assert own_shell.edgetran("device", "info", "nano", "--json").json["board"] == "rpi4"
        assert own_shell.edgetran("device", "info", "kitchen", "--json").json["emulated"] is True
    assert own_shell.edgetran("device", "remove", "nano").out == "nano: forgotten\n"
    assert own_shell.edgetran("device", "remove", "kitchen", "--json").json == {
        "removed": "kitchen"
    }
    assert "kitchen" in own_shell.refused("device", "remove", "kitchen")


def test_a_folder_without_runs_is_no_error(shell: Shell, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        assert shell.edgetran("runs", "list", "--runs", str(folder), "--json").json == []
        assert "no runs" in shell.edgetran("runs", "list", "--runs", str(folder)).out


# --- what a user gets wrong ---


@pytest.mark.parametrize("words", [("device", "info", "nanoo"), ("infer", "nano:tpu", "x")])
def test_boards_that_nobody_knows(shell: Shell, words: tuple[str, ...]) -> None:
    assert "did you mean" in shell.refused(*words)


@pytest.mark.parametrize(
    ("name", "address", "word"),
    [
        ("kitchen", "nowhere", "HOST:PORT"),
        ("kitchen", "1.2.3.4:99999", "HOST:PORT"),
        ("kitchen", "http://1.2.3.4:5", "HOST:PORT"),
        ("kitchen", ABSENT, "refused"),
        ("kitchen", "no-such-host.invalid:50051", "no-such-host"),
    ],
)
def test_addresses_that_are_none(shell: Shell, name: str, address: str, word: str) -> None:
    assert word in shell.refused("device", "add", name, address)
    rows = shell.edgetran("device", "list", "--json").json
    assert name not in {row["name"] for row in rows}


def test_a_name_that_is_none(shell: Shell, nano: str) -> None:
    address = json.loads((shell.home / "boards/jetson-nano-cpu/ready.json").read_text())["address"]
    assert "name" in shell.refused("device", "add", "my board", address)


def test_no_text_is_said(shell: Shell, nano: str) -> None:
    for stdin in (b"", b"\n \n"):
        assert "no text" in shell.refused("infer", nano, stdin=stdin)
    for text in ("", " \t"):
        assert "empty" in shell.refused("infer", nano, "fine", text)


def test_a_terminal_is_not_waited_for(shell: Shell, nano: str) -> None:
    primary, secondary = os.openpty()
    environment = {**os.environ, "EDGETRAN_HOME": str(shell.home)}
    command = [str(BIN / "edgetran"), "infer", nano]
    with os.fdopen(primary), os.fdopen(secondary) as terminal:
        done = subprocess.run(
            command, stdin=terminal, env=environment, capture_output=True, timeout=30, check=False
        )
    assert done.returncode == 1
    assert b"no text given" in done.stderr


def test_what_is_not_utf_8(shell: Shell, nano: str) -> None:
    assert "UTF-8" in shell.refused("infer", nano, stdin=b"fine\nbroken \xff\n")
    assert "UTF-8" in shell.refused("infer", nano, b"broken \xff")
    assert "UTF-8" in shell.refused("infer", nano, "fine", "--model", b"\xff")


def test_models_that_are_not_there(shell: Shell, nano: str, own_shell: Shell) -> None:
    assert "deployed: " in shell.refused("infer", nano, "heat on", "--model", "absent")
    assert "deploy" in own_shell.refused("infer", "rpi4", "heat on", "--threads", "1")


def spoil(bundle: Bundle, path: Path, how: str) -> None:
    data = bundle.path.read_bytes()
    place = data.index(bundle.read(bundle.card.variants[0].digest)) + 100
    if how == "flipped":
        data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    elif how == "truncated":
        data = data[:place]
    elif how == "nonsense":
        data = os.urandom(2000)
    elif how == "empty":
        data = b""
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["flipped", "truncated", "nonsense", "empty"])
def test_bundles_that_are_none(
    shell: Shell, nano: str, tmp_path: Path, tiny: ModuleType, how: str
) -> None:
    path = tmp_path / "spoilt.tar"
    spoil(tiny.make(tmp_path / "sound.tar", seed=5), path, how)  # the board has none of it
    assert "spoilt.tar" in shell.refused("deploy", "--target", nano, "--bundle", str(path))
    still = shell.edgetran("infer", nano, "heat on", "--model", "tiny", "--json").json
    assert still["predictions"][0]["label"]


def test_folders_and_files_that_are_no_bundle(shell: Shell, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.tar"):
        assert "bundle" in shell.refused("deploy", "--target", "nano", "--bundle", str(path))


@pytest.mark.parametrize("command", ["verify", "report"])
def test_a_record_that_is_not_there(shell: Shell, command: str, tmp_path: Path) -> None:
    folder = tmp_path / "absent"
    for path in (folder, folder / "record.json"):
        assert f"no record in {folder}\n" in shell.refused(command, str(path))


def test_a_model_whose_answers_changed_is_not_served(
    shell: Shell, nano: str, tmp_path: Path, tiny: ModuleType
) -> None:
    wrong = tiny.make(tmp_path / "wrong.tar", seed=3, wrong_by=0.5)
    words = ("deploy", "--target", nano, "--bundle", str(wrong.path), "--name", "tiny")
    assert "logits differ" in shell.refused(*words)
    assert shell.edgetran("infer", nano, "heat on", "--model", "tiny").out


@pytest.mark.parametrize(
    "words", [("infer",), ("device", "info"), ("device", "add", "x"), ("device", "fly"), ("fly",)]
)
def test_commands_that_are_none(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell.edgetran(*words, status=2)
    assert done.out == ""
    assert "--help" in done.err


# --- bad luck: the way to the board ---


def test_a_board_that_is_off(shell: Shell) -> None:
    for words in (("device", "info", ABSENT), ("infer", ABSENT, "x")):
        found = shell.refused(*words)
        assert "Connection refused" in found
        assert "is the board on" in found


def test_a_board_that_never_speaks(shell: Shell) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        begun = time.monotonic()
        assert address in shell.refused("device", "info", address)
        assert time.monotonic() - begun < 20


def test_something_else_that_answers_there(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as connection:
                        connection.recv(1024)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert address in shell.refused("device", "info", address)
        listener.shutdown(socket.SHUT_RDWR)


# --- bad luck: uploads ---

SENDER = """
import os, signal, sys
import edgetran
from edgetran_protos.bundle import Bundle
from pathlib import Path

address, path, share = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])

def watch(event):
    if event.stage == "upload" and event.done >= share * event.total:
        os.kill(os.getpid(), signal.SIGKILL)

with edgetran.connect(address) as board:
    board.deploy(Bundle.open(path), on_progress=watch)
"""


@pytest.fixture
def large(tmp_path: Path, tiny: ModuleType) -> Bundle:
    """The tiny model with a file of 12 MiB beside it, so that an upload has a middle."""
    small = tiny.make(tmp_path / "small", seed=2, name="large")
    files = {
        "model.onnx": (MEDIA_WEIGHTS, tiny.graph(2)),
        "tokenizer.json": (MEDIA_WEIGHT_CONFIG, tiny.tokenizer_json()),
        "notes.bin": (MEDIA_WEIGHTS, os.urandom(12 * MEBI)),
    }
    return write_bundle(tmp_path / "large.tar", small.card, files)


def kill_while_sending(board: Daemon, bundle: Bundle, share: float) -> None:
    command = [sys.executable, "-c", SENDER, board.address, str(bundle.path), str(share)]
    done = subprocess.run(command, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_only_whole_blobs(board: Daemon) -> None:
    for name, data in board.blobs().items():
        assert hashlib.sha256(data).hexdigest() == name


def test_a_client_that_dies_in_the_middle_goes_on_later(
    own_shell: Shell, tmp_path: Path, bundle: Bundle, large: Bundle
) -> None:
    with daemon(tmp_path / "state") as board:
        own_shell.edgetran("deploy", "--target", board.address, "--bundle", str(bundle.path))
        arrived = 0
        for share in (0.3, 0.6):
            kill_while_sending(board, large, share)
            wait_until(lambda: len(board.partials()) == 1)
            assert_only_whole_blobs(board)
            size = board.partials()[0].stat().st_size
            assert arrived < size < 12 * MEBI, "the second client went on where the first died"
            arrived = size
            info = own_shell.edgetran("device", "info", board.address, "--json").json
            assert [d["model"] for d in info["deployments"]] == ["tiny"]
        words = ("deploy", "--target", board.address, "--bundle", str(large.path), "--json")
        done = own_shell.edgetran(*words)
        assert done.json["deployment"]["bundle_digest"] == large.digest
        assert done.json["emulated"] is False
        sent = [json.loads(line) for line in done.err.splitlines()]
        first = next(event for event in sent if event["stage"])
        assert first["done"] > 0, "what had arrived is not sent again"
        assert board.partials() == []
        assert_only_whole_blobs(board)
        assert own_shell.edgetran("infer", board.address, "heat on", "--model", "large").out


def test_a_board_that_dies_in_the_middle_has_nothing_half_written(
    own_shell: Shell, tmp_path: Path, bundle: Bundle, large: Bundle
) -> None:
    state = tmp_path / "state"
    words = ("deploy", "--bundle", str(large.path), "--target")
    with daemon(state) as board:
        own_shell.edgetran("deploy", "--target", board.address, "--bundle", str(bundle.path))
        kill_while_sending(board, large, 0.5)
        board.process.kill()
        board.process.wait()
        assert_only_whole_blobs(board)
        (partial,) = board.partials()
    kept = partial.stat().st_size
    with partial.open("r+b") as file:  # what a power cut leaves: a length without the bytes
        file.seek(kept // 2)
        file.write(b"\0" * (kept - kept // 2))
    with daemon(state) as board:
        info = own_shell.edgetran("device", "info", board.address, "--json").json
        assert [(d["model"], d["state"]) for d in info["deployments"]] == [("tiny", "serving")]
        assert own_shell.edgetran("infer", board.address, "heat on").out
        assert own_shell.edgetran(*words, board.address).out
        assert_only_whole_blobs(board)
        assert own_shell.edgetran("infer", board.address, "heat on", "--model", "large").out


def test_a_board_that_may_write_no_more_keeps_what_it_serves(
    own_shell: Shell, tmp_path: Path, bundle: Bundle, large: Bundle
) -> None:
    with daemon(tmp_path / "state", file_limit=2 * MEBI) as board:
        own_shell.edgetran("deploy", "--target", board.address, "--bundle", str(bundle.path))
        words = ("deploy", "--target", board.address, "--bundle", str(large.path))
        assert "no room left" in own_shell.refused(*words)
        assert_only_whole_blobs(board)
        assert board.partials() == []
        assert own_shell.edgetran("infer", board.address, "heat on").out


def test_a_board_whose_disk_is_full_keeps_what_it_serves(
    own_shell: Shell,
    small_disk: Callable[[int], Any],
    bundle: Bundle,
    large: Bundle,
    tmp_path: Path,
    tiny: ModuleType,
) -> None:
    disk = small_disk(72 * MEBI)  # the daemon keeps 64 MiB free for itself
    with daemon(disk.path / "state") as board:
        own_shell.edgetran("deploy", "--target", board.address, "--bundle", str(bundle.path))
        words = ("deploy", "--target", board.address, "--bundle")
        assert "the board has room for" in own_shell.refused(*words, str(large.path))
        disk.fill()
        other = tiny.make(tmp_path / "other.tar", seed=4)
        assert "the board has room for" in own_shell.refused(*words, str(other.path))
        assert own_shell.edgetran("infer", board.address, "heat on").out
        disk.make_room()
        assert own_shell.edgetran(*words, str(other.path)).out


def test_a_full_disk_on_this_machine_is_said(
    small_disk: Callable[[int], Any], bundle: Bundle
) -> None:
    disk = small_disk(64 << 10)
    disk.fill()
    shell = Shell(disk.path / "home")
    found = shell.refused("device", "info", "nano")
    assert os.strerror(errno.ENOSPC) in found


# --- the daemon itself ---


def refused_daemon(*options: str) -> str:
    command = [str(BIN / "edgetran-daemon"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    line, hint = done.stderr.splitlines()
    assert line.startswith("edgetran-daemon: ")
    assert hint.startswith("  hint: ")
    return done.stderr


def test_a_second_daemon_on_a_port_or_a_folder_is_told(tmp_path: Path) -> None:
    with daemon(tmp_path / "state") as board:
        other = ("--state", str(tmp_path / "other"))
        assert board.address in refused_daemon("--listen", board.address, *other)
        same = ("--listen", "127.0.0.1:0", "--state", str(board.state))
        assert str(board.process.pid) in refused_daemon(*same)
        assert "did you mean" in refused_daemon(*other, "--emulate", "nanoo")


def test_a_daemon_of_ones_own_that_cannot_start_shows_why(own_shell: Shell) -> None:
    state = own_shell.home / "boards" / "jetson-nano-cpu"
    state.mkdir(parents=True)
    (state / "deployments.json").write_text("{}")
    found = own_shell.refused("device", "info", "nano")
    assert "deployments.json cannot be read: it lacks 'schema'" in found
    assert "move it away" in found
