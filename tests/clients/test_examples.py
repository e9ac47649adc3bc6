"""Every program of examples/ does what its page says, against a real daemon."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import edgetran
import pytest
from edgetran_daemon.security.certificates import Certificates
from edgetran_protos.bundle import Bundle

from tests.e2e.test_pairing import guarded, let_in

pytestmark = pytest.mark.slow

Served = Callable[[str], AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]]
TEXTS = ["turn on the light", "heat on", "play the music", "turn the heat on"]
PATIENCE_S = 60


@pytest.fixture(scope="module")
def examples(root: Path) -> Path:
    return root / "examples"


@pytest.fixture(scope="module")
def labels(tiny: ModuleType) -> list[str]:
    """What numpy makes of TEXTS."""
    logits = tiny.reference(tiny.encode([[text] for text in TEXTS]))
    return [tiny.LABELS[at] for at in logits.argmax(1)]


def run(*command: object, said: str = "", **more: object) -> subprocess.CompletedProcess[str]:
    arguments = [str(part) for part in command]
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        arguments, input=said, capture_output=True, text=True, timeout=120, check=False, **more
    )


def test_one_microphone(examples: Path, address: str, labels: list[str], tmp_path: Path) -> None:
    act = tmp_path / "act"
    act.write_text(f'#!/bin/sh\necho "$1:$2" >> {tmp_path}/acted\n')
    act.chmod(0o755)
    program = examples / "home_listener" / "listen.py"
    command = [sys.executable, program, "--board", address, "--model", "home"]
    done = run(*command, "--sure", "0", "--then", act, said="\n\n".join(TEXTS))
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["heard"], one["intent"]) for one in told] == list(zip(TEXTS, labels))
    assert {one["verdict"] for one in told} == {"act"}
    expected = [f"{label}:{text}" for label, text in zip(labels, TEXTS)]
    assert (tmp_path / "acted").read_text().splitlines() == expected
    unsure = run(*command, "--sure", "1.1", "--then", act, said=TEXTS[0])
    assert json.loads(unsure.stdout)["verdict"] == "ask back"
    assert len((tmp_path / "acted").read_text().splitlines()) == len(TEXTS)
    missing = run(sys.executable, program, "--board", "127.0.0.1:1", said=TEXTS[0])
    assert missing.returncode == 1
    assert "hint: " in missing.stderr


def test_many_microphones(examples: Path, address: str, labels: list[str]) -> None:
    program = examples / "home_listener" / "listen_async.py"
    command = [sys.executable, str(program), "--board", address, "--model", "home"]
    listener = subprocess.Popen([*command, "--listen", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout is not None
        port = int(listener.stdout.readline().split()[-1])
        rooms = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(20)]
        for room in rooms:
            room.sendall("".join(f"{text}\n" for text in TEXTS).encode())
            room.shutdown(socket.SHUT_WR)
        for room in rooms:
            with room, room.makefile() as heard:
                told = [json.loads(line) for line in heard]
            assert [(one["heard"], one["intent"]) for one in told] == list(zip(TEXTS, labels))
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as rude:
            rude.sendall(b"x" * 100_000)  # no line
            assert rude.recv(1) == b""
    finally:
        listener.send_signal(signal.SIGINT)
        assert listener.wait(PATIENCE_S) == 130


def test_what_was_said_too_long_ago_is_not_done(examples: Path, served: Served) -> None:
    program = examples / "home_listener" / "listen.py"
    with served("127.0.0.1:0") as (place, daemon):
        command = [sys.executable, str(program), "--board", place, "--model", "home", "--sure", "0"]
        listener = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert listener.stdin is not None
        assert listener.stdout is not None
        listener.stdin.write(f"{TEXTS[0]}\n")
        listener.stdin.flush()
        assert json.loads(listener.stdout.readline())["verdict"] == "act"
        daemon.terminate()
        daemon.wait(PATIENCE_S)
        told, complained = listener.communicate(f"{TEXTS[1]}\n", PATIENCE_S)
    assert json.loads(told)["verdict"] == "too late"
    assert place in complained
    assert listener.returncode == 0


ROWS = 6000


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    lines = (f'{number},"{TEXTS[number % len(TEXTS)]}"' for number in range(ROWS))
    path.write_text("\n".join(["id,said", *lines]) + "\n")
    return path


def scoring(examples: Path, address: str, rows: Path, out: Path, *more: str) -> list[str]:
    program = examples / "batch_scoring" / "score.py"
    command = [sys.executable, str(program), str(rows), str(out), "--board", address]
    return [*command, "--model", "home", "--column", "said", *more]


def test_a_file_is_scored_though_it_is_killed_twice(
    examples: Path, address: str, rows: Path, labels: list[str], tmp_path: Path
) -> None:
    out, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    command = scoring(examples, address, rows, out, "--batch", "4")
    for share in (0.2, 0.5):
        process = subprocess.Popen(command)
        while not partial.exists() or partial.read_bytes().count(b"\n") < share * ROWS:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait(PATIENCE_S)
        assert not out.exists()
    with partial.open("ab") as file:
        file.write(b'{"row": 99')  # as a power cut may leave it
    left = ROWS - partial.read_bytes().count(b"\n")
    done = run(*command)
    assert done.returncode == 0, done.stderr
    told = re.fullmatch(r"(\d+) rows in [0-9.]+ s: (\d+) rows/s\n", done.stdout)
    assert told is not None
    assert int(told[1]) == left
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.jsonl", "rows.csv"]
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["row"] for one in found] == list(range(ROWS))
    assert all(one["label"] == labels[one["row"] % len(labels)] for one in found)


def test_other_rows_or_another_model_are_not_mixed(
    examples: Path, address: str, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.partial").touch()
    (tmp_path / "out.jsonl.partial.about").write_text('{"rows": "others"}\n')
    done = run(*scoring(examples, address, rows, out))
    assert done.returncode == 1
    assert "was begun with other rows" in done.stderr
    wrong = run(*scoring(examples, address, rows, tmp_path / "new.jsonl")[:-1], "nothing")
    assert wrong.returncode == 1
    assert "has no 'nothing'" in wrong.stderr


@pytest.fixture(scope="module")
def grpcurl(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """The real one where it is; else a stand-in that sends the same JSON by the .proto files."""
    folder = tmp_path_factory.mktemp("bin")
    if shutil.which("grpcurl") is None:
        stand_in = Path(__file__).parent / "grpcurl_stand_in.py"
        program = folder / "grpcurl"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in} "$@"\n')
        program.chmod(0o755)
    protos = root / "protos" / "proto"
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}, protos


@pytest.mark.parametrize("described", [False, True])
def test_the_shell_asks(
    examples: Path,
    address: str,
    labels: list[str],
    grpcurl: tuple[dict[str, str], Path],
    described: bool,
) -> None:
    if shutil.which("jq") is None:
        pytest.skip("needs jq")
    environment, protos = grpcurl
    if described:
        environment = {**environment, "PROTO": str(protos)}
    texts = [*TEXTS, 'play "the" music\'s $HOME `x`']
    done = run(examples / "from_the_shell" / "ask.sh", address, "home", *texts, env=environment)
    assert done.returncode == 0, done.stderr
    told = [line.split("\t") for line in done.stdout.splitlines()]
    assert [text for _, _, text in told] == texts
    assert [label for label, _, _ in told][: len(labels)] == labels
    assert all(0 < float(score) <= 1 for _, score, _ in told)
    refused = run(examples / "from_the_shell" / "ask.sh", address, "nobody", "x", env=environment)
    assert refused.returncode != 0
    assert "nobody" in refused.stderr


def test_every_line_for_grpcurl(
    examples: Path, address: str, grpcurl: tuple[dict[str, str], Path]
) -> None:
    environment, _ = grpcurl
    page = (examples / "from_the_shell" / "README.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("grpcurl -plaintext")]
    assert len(lines) == 6
    for line in lines:
        if "Telemetry" not in line:  # which does not end
            asked = line.replace("127.0.0.1:50051", address).replace("intents", "home")
            done = run(*shlex.split(asked), env=environment)
            assert done.returncode == 0, (line, done.stderr)
            assert isinstance(json.loads(done.stdout), dict)


@pytest.fixture
def paired_board(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Path]]:
    """Its address, and the files of the pairing with it."""
    monkeypatch.setenv("EDGETRAN_HOME", str(tmp_path / "home"))
    state = tmp_path / "state"
    Certificates(state / "pairing").make()
    with guarded(state) as place:
        let_in(state, place)
        with edgetran.connect(place) as board:
            board.deploy(bundle, model="home")
        (keys,) = (tmp_path / "home" / "paired").iterdir()
        yield place, keys


def test_grpcurl_and_a_board_for_paired_clients(
    root: Path,
    examples: Path,
    paired_board: tuple[str, Path],
    grpcurl: tuple[dict[str, str], Path],
) -> None:
    place, keys = paired_board
    page = (examples / "from_the_shell" / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^grpcurl -cacert (?:.*\\\n)*.*$", page, re.MULTILINE)
    asked = line.replace("$paired", str(keys)).replace("192.0.2.7:50051", place)
    done = run("sh", "-c", asked, env=grpcurl[0], cwd=root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["board"] == "local"


def test_a_triton_client(
    examples: Path, address: str, triton_python: Path, isolated: dict[str, str], labels: list[str]
) -> None:
    program = examples / "triton_client" / "classify.py"
    said = "\n".join(TEXTS * 30)
    done = run(triton_python, program, address, "home", said=said, env=isolated)
    assert done.returncode == 0, done.stderr
    told = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(label, text) for label, _, text in told] == list(zip(labels, TEXTS)) * 30
    assert done.stderr.startswith(f"{len(told)} rows; the board computed ")
    absent = run(triton_python, program, address, "nobody", said=said, env=isolated)
    assert absent.returncode == 1
    assert "home:text" in absent.stderr


def test_a_triton_client_of_a_board_for_paired_clients(
    examples: Path,
    paired_board: tuple[str, Path],
    triton_python: Path,
    isolated: dict[str, str],
    labels: list[str],
) -> None:
    place, keys = paired_board
    program = examples / "triton_client" / "classify.py"
    files = [keys / name for name in ("authority.pem", "client.pem", "client.key")]
    command = [triton_python, program, place, "home", "--encrypted", *files]
    done = run(*command, said="\n".join(TEXTS), env=isolated)
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == labels


NOTEBOOK = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture(scope="module")
def executed(
    root: Path, environment: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """The notebook with its outputs; a kernel of its own environment with our packages."""
    place = tmp_path_factory.mktemp("notebook")
    made = run(sys.executable, root / "benchmarks" / "make_oracles.py", place)
    assert made.returncode == 0, made.stderr
    changes = {
        "ORACLE": str(place / "friendly.npz"),
        "RUN": str(place / "run"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "IPYTHONDIR": str(place / "ipython"),
        "JUPYTER_DATA_DIR": str(place / "jupyter"),
    }
    out = place / "out.ipynb"
    source = root / "examples" / "co_search" / "co_search.ipynb"
    done = subprocess.run(
        [environment("notebook"), "-c", NOTEBOOK, source, out],
        env={**os.environ, **changes}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(out.read_text())
    return found


def test_the_notebook(executed: dict[str, object]) -> None:
    cells = [one for one in executed["cells"] if one["cell_type"] == "code"]  # type: ignore[attr-defined]
    told = ["".join(one.get("text", "")) for cell in cells for one in cell["outputs"]]
    shown = [one["data"] for cell in cells for one in cell["outputs"] if "data" in one]
    assert sum("image/png" in one for one in shown) == 3
    (table,) = ["".join(one["text/markdown"]) for one in shown if "text/markdown" in one]
    assert "| chosen, m1:cpu |" in table  # no other board keeps the limit
    assert any("evaluations after 24 evaluations" in text for text in told)
    assert any("latency limit 500 ms" in text for text in told)


def test_the_notebook_is_kept_without_outputs(examples: Path) -> None:
    kept = json.loads((examples / "co_search" / "co_search.ipynb").read_text())
    code = [cell for cell in kept["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
