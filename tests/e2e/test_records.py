"""Measurements as a user asks for, keeps and checks them: profile, verify, report, and bad luck."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from edgetran_protos.bundle import Bundle
from edgetran_protos.measuring.document import digest_of

BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
ONE_BLOCK = ("--blocks", "1", "--max-blocks", "1", "--attempts", "1", "--threads", "1")
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "bundle.tar")
    return made


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with daemon(tmp_path_factory.mktemp("board")) as (_, found):
        yield found


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    ready = folder / "ready.json"
    command = [str(BIN / "edgetran-daemon"), "--listen", "127.0.0.1:0", "--threads", "1"]
    command += ["--state", str(folder / "state"), "--ready-file", str(ready)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(ready.exists)
        yield process, json.loads(ready.read_text())["address"]
    finally:
        process.terminate()
        process.wait(20)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def edgetran(*words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [BIN / "edgetran", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, done
    return done


@pytest.fixture(scope="module")
def kept(address: str, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of one measurement on this machine."""
    out = tmp_path_factory.mktemp("records") / "tiny"
    run = bundle.path.parent  # a directory that holds a bundle.tar, as a run does
    done = edgetran("profile", "--target", address, "--bundle", run, "--out", out, *ONE_BLOCK)
    assert "measured" in done.stdout
    assert str(out) in done.stdout
    assert "verdict" in done.stdout
    return out


@pytest.fixture
def record(kept: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(kept, tmp_path / "record"))


def document(record: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((record / "record.json").read_text())
    return found


def test_a_record_is_kept_whole(record: Path) -> None:
    found = document(record)
    assert (found["modelled"], found["figures"]["blocks"]) == (False, 1)
    assert len(list((record / "samples").iterdir())) == len(found["samples"]) == 3
    assert not (record / "unfinished.json").exists()


def test_its_figures_follow_from_its_samples(record: Path) -> None:
    told = json.loads(edgetran("verify", record, "--json").stdout)
    assert told["sound"] is True
    assert told["figures"] > 20
    assert told["samples"] == 3
    assert document(record)["verdict"] in edgetran("verify", record / "record.json").stdout


def better(found: dict[str, Any]) -> None:
    found["figures"]["latency_p99_s"]["value"] *= 0.99


def praised(found: dict[str, Any]) -> None:
    found["reasons"] = [*found["reasons"], "few_samples"]


def moved(found: dict[str, Any]) -> None:
    found["facts"]["board"] = "jetson-nano"


@pytest.mark.parametrize("spoil", [better, praised, moved])
def test_a_changed_figure_is_found(record: Path, spoil: Callable[[Any], None]) -> None:
    found = document(record)
    spoil(found)
    (record / "record.json").write_text(json.dumps(found))
    done = edgetran("verify", record, status=3)
    assert "does not follow" in done.stdout
    told = json.loads(edgetran("verify", record, "--json", status=3).stdout)
    assert told["sound"] is False
    assert "digest" in [one["what"] for one in told["differences"]]


def test_a_figure_is_found_though_the_digest_was_made_anew(record: Path) -> None:
    found = document(record)
    better(found)
    found["digest"] = digest_of(found)
    (record / "record.json").write_text(json.dumps(found))
    told = json.loads(edgetran("verify", record, "--json", status=3).stdout)
    assert [one["what"] for one in told["differences"]] == ["figures.latency_p99_s.value"]


def cut_short(record: Path) -> None:
    sample = next((record / "samples").iterdir())
    sample.write_bytes(sample.read_bytes()[:-1])


def lost(record: Path) -> None:
    next((record / "samples").iterdir()).unlink()


def no_json(record: Path) -> None:
    (record / "record.json").write_text("{")


def another_form(record: Path) -> None:
    (record / "record.json").write_text(json.dumps({**document(record), "schema": "x/9"}))


def outside(record: Path) -> None:
    found = document(record)
    found["samples"][0]["digest"] = "sha256:../../record.json"
    (record / "record.json").write_text(json.dumps(found))


def gone(record: Path) -> None:
    (record / "record.json").unlink()


@pytest.mark.parametrize("spoil", [cut_short, lost, no_json, another_form, outside, gone])
def test_a_damaged_record_is_refused_with_a_hint(
    record: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(record)
    done = edgetran("verify", record, status=1)
    assert done.stderr.startswith("error: ")
    assert " hint: " in done.stderr


def test_a_report_has_its_pictures(record: Path) -> None:
    told = json.loads(edgetran("report", record, "--json").stdout)
    page = Path(told["report"]).read_text()
    assert page.count('<img alt="') == 2
    for word in ("Latency of every timed run", "Drift", "latency_p50_s", "verdict"):
        assert word in page
    assert "EMULATED" not in page
    assert all(p.read_bytes().startswith(PNG) for p in record.glob("picture-*.png"))


def test_an_emulated_board_has_no_samples_and_says_so(
    tmp_path: Path, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a bare graph, whose work is counted for it."""
    monkeypatch.setenv("EDGETRAN_HOME", str(tmp_path / "home"))
    graph, out = tmp_path / "graph.onnx", tmp_path / "record"
    graph.write_bytes(tiny.graph())
    try:
        words = ("--target", "nano", "--model", graph, "--out", out, "--threads", "1")
        shown = edgetran("profile", *words).stdout
    finally:
        for ready in tmp_path.glob("home/boards/*/ready.json"):
            os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)
    assert "EMULATED" in shown
    assert "~" in shown
    found = document(out)
    assert (found["modelled"], found["samples"], found["verdict"]) == (True, [], "modelled")
    assert not (out / "samples").exists()
    assert json.loads(edgetran("verify", out, "--json").stdout)["sound"] is True
    assert "EMULATED" in Path(edgetran("report", out).stdout.strip()).read_text()
    found["figures"]["energy_j"]["value"] /= 2
    (out / "record.json").write_text(json.dumps(found))
    edgetran("verify", out, status=3)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--bundle", "none.tar"),
        ("--bundle", "here", "--model", "here"),
        ("--model", "none.onnx"),
    ],
)
def test_what_cannot_be_measured_is_said(address: str, words: tuple[str, ...]) -> None:
    done = edgetran("profile", "--target", address, *words, status=1)
    assert done.stderr.startswith("error: ")


def test_a_record_is_never_written_over(address: str, bundle: Bundle, record: Path) -> None:
    before = document(record)
    words = ("--target", address, "--bundle", bundle.path, "--out", record, *ONE_BLOCK)
    assert "exists" in edgetran("profile", *words, status=1).stderr
    assert document(record) == before


def measuring(address: str, bundle: Bundle, out: Path) -> subprocess.Popen[str]:
    """A long measurement that has kept a timed block already."""
    words = ["--target", address, "--bundle", str(bundle.path), "--out", str(out)]
    words += ["--blocks", "100", "--max-blocks", "100", "--attempts", "1", "--threads", "1"]
    process = subprocess.Popen([BIN / "edgetran", "profile", *words], stderr=-1, text=True)
    until(lambda: len(list(out.glob("samples/*.npz"))) >= 2)
    return process


def broken(out: Path) -> dict[str, Any]:
    """The record of one that broke off: what there is, judged, and verified."""
    found = document(out)
    assert found["verdict"] == "invalid"
    assert "broke_off" in found["reasons"]
    assert found["figures"]["blocks"] >= 1
    assert json.loads(edgetran("verify", out, "--json").stdout)["sound"] is True
    return found


def test_what_was_measured_outlives_the_board_and_the_user(
    tmp_path: Path, bundle: Bundle, tiny: ModuleType
) -> None:
    """Ctrl-C first; a second host that comes meanwhile; then the board loses its power."""
    with daemon(tmp_path) as (board, address):
        process = measuring(address, bundle, tmp_path / "stopped")
        other = tiny.make(tmp_path / "other.tar", seed=1)
        words = ["--target", address, "--bundle", str(other.path), *ONE_BLOCK]
        words += ["--out", str(tmp_path / "second")]
        waiting = subprocess.Popen([BIN / "edgetran", "profile", *words], stderr=-1, text=True)
        assert waiting.stderr is not None
        assert "leased by" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(PATIENCE_S) == 130
        assert not (tmp_path / "second").exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        broken(tmp_path / "stopped")

        process = measuring(address, bundle, tmp_path / "cut")
        board.kill()
        assert process.wait(PATIENCE_S) == 1
        assert process.stderr is not None
        said = process.stderr.read()
        assert "broke off" in said
        assert str(tmp_path / "cut") in said
        broken(tmp_path / "cut")
