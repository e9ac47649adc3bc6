"""The main job as a user runs it: one command from rows of text to a board that answers.

A tiny encoder on a small task of two moods, on an emulated board; all else is real.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgetran
import pytest
from edgetran_protos.bundle import MEDIA_PROVENANCE, Bundle

from .moods import TRAIN_ROWS, sentence, write_moods, write_seed

pytest.importorskip("edgetran_daemon.main", reason="needs the daemon's package")

EDGETRAN = Path(sys.executable).parent / "edgetran"
OFFER = "offer-onnxruntime-int8"  # the one runtime of an emulated nano
STAGES = (
    *("data", "seed", "baselines", "search", "trained", OFFER, "origin"),
    *("measurements", "release"),
)
PATIENCE_S = 240.0  # for one command on a busy machine
ROOMY = ("--max-latency", "1s", "--max-size", "10MB")  # a tiny seed has little to give


@dataclass(frozen=True)
class Ended:
    """A command that ended: exit status, standard output, and lines of standard error."""

    status: int
    out: str
    err: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def stages(self) -> list[str]:
        """Of its progress events, in order, each once."""
        events = [json.loads(line) for line in self.err if line.startswith("{")]
        return list(dict.fromkeys(event["stage"].strip() for event in events))

    @property
    def said(self) -> list[str]:
        """What a person reads: all but progress and blank lines."""
        return [line for line in self.err if line and not line.startswith("{")]


class Command:
    """`edgetran` with some words, as a process that can be watched and killed."""

    def __init__(self, *words: str | Path, cwd: Path) -> None:
        self._process = subprocess.Popen(
            [EDGETRAN, *map(str, words)],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._err: list[str] = []
        self._out = ""
        self._readers = [
            threading.Thread(target=self._read_out, daemon=True),
            threading.Thread(target=self._read_err, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def kill_when(self, due: Callable[[dict[str, Any]], bool], how: int) -> Ended:
        """Sends the signal as soon as `due` holds for an event ({} between events)."""
        deadline = time.monotonic() + PATIENCE_S
        while not due(self._next_event()):
            assert self._process.poll() is None, f"ended too soon, after {self.ended().stages}"
            assert time.monotonic() < deadline, f"waited in vain; last: {self._err[-1:]}"
        self._process.send_signal(how)
        return self.ended()

    def ended(self) -> Ended:
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        for reader in self._readers:
            reader.join(10)
        return Ended(status, self._out, self._err)

    def _next_event(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=0.002)
        except queue.Empty:
            return {}
        event: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
        return event

    def _read_out(self) -> None:
        assert self._process.stdout is not None
        self._out = self._process.stdout.read()

    def _read_err(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._err.append(line.rstrip("\n"))
            self._lines.put(line)


def at(stage: str, done: int = 0) -> Callable[[dict[str, Any]], bool]:
    """Due when this stage has come this far."""
    return lambda event: event.get("stage", "").strip() == stage and event["done"] >= done


def there(file: Path) -> Callable[[dict[str, Any]], bool]:
    """Due when the file appears."""
    return lambda event: file.exists()


@dataclass(frozen=True)
class Place:
    """A user's directory: a seed, a task, and whatever runs leave there."""

    path: Path

    def command(self, *words: str | Path) -> Command:
        return Command(*words, cwd=self.path)

    def edgetran(self, *words: str | Path) -> Ended:
        return self.command(*words).ended()

    def deploy(self, run: str, *more: str) -> Command:
        """The same request each time, but for the run directory."""
        return self.command(
            *("deploy", "--target", "nano", "--data", "moods", "--seed", "seed"),
            *("--train-rows", str(TRAIN_ROWS), "--run", run, "--threads", "1", "--json"),
            *(more or ROOMY),
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With an EDGETRAN_HOME of its own, whose daemons end with it."""
    path = tmp_path_factory.mktemp("place")
    write_seed(path / "seed")
    write_moods(path / "moods")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGETRAN_HOME", str(path / "home"))
        yield Place(path)
        for ready in path.glob("home/boards/*/ready.json"):
            stop(json.loads(ready.read_text())["pid"])


def stop(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return  # it ended by itself


@pytest.fixture(scope="module")
def whole(place: Place) -> Ended:
    """The job, run once from beginning to end; its directory is `run`."""
    ended = place.deploy("run").ended()
    assert ended.status == 0, ended.said
    return ended


def rows_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in result["rows"]}


def stage(run: Path, name: str) -> Any:
    return json.loads((run / "stages" / f"{name}.json").read_text())


def halves(run: Path) -> list[str]:
    """Files that a write left half done."""
    return [str(file) for file in run.rglob("*") if "partial" in file.name]


class TestWholeRun:
    def test_what_is_printed_is_what_is_kept(self, place: Place, whole: Ended) -> None:
        kept = json.loads((place.path / "run" / "result.json").read_text())
        shown = place.edgetran("runs", "show", "run", "--json")
        assert whole.json == kept == shown.json
        assert not whole.said
        assert {file.stem for file in (place.path / "run/stages").iterdir()} == set(STAGES)
        assert not halves(place.path / "run")

    def test_the_rows_of_the_table(self, whole: Ended) -> None:
        rows = rows_of(whole.json)
        assert list(rows) == ["seed-fp32", "seed-int8", "seed-int8-trimmed", "chosen"]
        bytes_ = {key: row["artefact_bytes"] for key, row in rows.items()}
        assert bytes_["seed-fp32"] > bytes_["seed-int8"] > bytes_["seed-int8-trimmed"]
        weights = {key: row["parameters"] for key, row in rows.items()}
        assert weights["seed-fp32"] == weights["seed-int8"] > weights["seed-int8-trimmed"]
        assert rows["chosen"]["scores"]["value"] > 0.95
        for row in rows.values():
            scores = row["scores"]
            assert 0 <= scores["low"] <= scores["value"] <= scores["high"] <= 1
            assert row["trained_scores"]["value"] == pytest.approx(scores["value"], abs=0.05)

    def test_the_target_is_modelled_and_this_machine_measured(self, whole: Ended) -> None:
        result = whole.json
        assert result["boards"]["target"]["emulated"] is True
        assert result["boards"]["reference"]["emulated"] is False
        for row in result["rows"]:
            target, reference = row["measured"]["target"], row["measured"]["reference"]
            assert (target["board"], target["modelled"]) == ("jetson-nano", True)
            assert (reference["board"], reference["modelled"]) == ("local", False)
            assert target["latency_p50_s"]["value"] > 0
            assert target["energy_j"]["value"] > 0
            assert reference["latency_p50_s"]["value"] > 0

    def test_the_raw_samples_are_kept(self, place: Place, whole: Ended) -> None:
        measured = stage(place.path / "run", "measurements")
        for row in whole.json["rows"]:
            samples = sorted(measured[row["key"]]["reference"]["samples_s"])
            found = row["measured"]["reference"]["latency_p50_s"]
            assert found["low"] <= samples[len(samples) // 2] <= found["high"]

    def test_the_chosen_design_keeps_the_limits_and_is_the_best(self, whole: Ended) -> None:
        search = whole.json["search"]
        assert search["budget"]["max_size_bytes"] == 10e6
        assert search["budget"]["max_latency_s"] == 1
        trained = [trial for trial in search["trials"] if trial["score"] is not None]
        assert len(trained) == 5
        designs = [tuple(trial["design"].values()) for trial in search["trials"]]
        assert len(designs) == len(set(designs))
        assert search["best"]["value"] == max(trial["value"] for trial in trained)
        assert search["best"] in trained
        chosen = rows_of(whole.json)["chosen"]
        assert chosen["artefact_bytes"] < 10e6
        assert chosen["measured"]["target"]["latency_p50_s"]["value"] < 1

    def test_the_board_answers_what_the_result_says(self, place: Place, whole: Ended) -> None:
        answers = whole.json["answers"]
        assert answers
        asked = place.edgetran("infer", "nano", "--model", "moods", "--json", *texts_of(answers))
        said = [(p["label"], p["score"]) for p in asked.json["predictions"]]
        assert said == [(answer["answer"], answer["score"]) for answer in answers]
        dev = (place.path / "moods/dev.tsv").read_text().splitlines()
        assert {f"{answer['text']}\t{answer['expected']}" for answer in answers} <= set(dev)
        assert [answer["answer"] for answer in answers] == [
            answer["expected"] for answer in answers
        ]

    def test_the_board_serves_the_bundle_of_the_run_and_keeps_no_other(
        self, place: Place, whole: Ended
    ) -> None:
        bundle = Bundle.open(place.path / "run" / "bundle.tar")
        with edgetran.connect("nano") as board:
            serving = [d for d in board.deployments() if d.state == "serving"]
        assert [(d.model, d.bundle_digest) for d in serving] == [("moods", bundle.digest)]
        assert bundle.card.labels == ["bad", "good"]
        assert {claim.measured for claim in bundle.card.claims} == {True, False}
        kept = {blob.digest for blob in bundle.blobs}
        stored = list((place.path / "home/boards/jetson-nano-cpu").rglob("sha256/*"))
        assert stored
        others = {f"sha256:{file.name}" for file in stored} - kept - {bundle.digest}
        assert not others

    def test_packed_again_it_is_the_same_bundle(self, place: Place, whole: Ended) -> None:
        served = Bundle.open(place.path / "run" / "bundle.tar")
        again = place.edgetran("pack", "run", "--out", "again.tar", "--json")
        assert again.json["digest"] == served.digest
        assert (place.path / "again.tar").read_bytes() == served.path.read_bytes()
        [statement] = [b for b in served.blobs if b.media_type == MEDIA_PROVENANCE]
        came = json.loads(served.read(statement.digest))["predicate"]["buildDefinition"]
        rows = next(one for one in came["resolvedDependencies"] if one["name"] == "rows")
        assert f"sha256:{rows['digest']['sha256']}" == stage(place.path / "run", "data")["digest"]
        assert str(place.path) not in served.read(statement.digest).decode()

    def test_the_report_stands_alone(self, place: Place, whole: Ended) -> None:
        page = (place.path / "run" / "report.html").read_text()
        links = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'>\s]{0,40})""", page)
        assert links
        assert all(link.startswith("data:") for link in links)
        assert "<script" not in page
        assert "emulated" in page
        for row in whole.json["rows"]:
            assert row["title"] in page

    def test_the_same_command_again_only_asks_the_board(self, place: Place, whole: Ended) -> None:
        before = (place.path / "run/stages/measurements.json").stat().st_mtime_ns
        again = place.deploy("run").ended()
        assert again.status == 0
        assert again.json == whole.json
        assert set(again.stages) <= {"deploy", "answers"}
        assert (place.path / "run/stages/measurements.json").stat().st_mtime_ns == before

    def test_rows_that_changed_are_noticed(self, place: Place, whole: Ended) -> None:
        train = place.path / "moods" / "train.tsv"
        before = train.read_text()
        train.write_text(before.replace("film", "play", 1))
        try:
            refused = place.deploy("run").ended()
        finally:
            train.write_text(before)
        assert refused.status == 1
        told, hint = refused.said
        assert told == "error: the rows of moods changed since the run in run began"
        assert "another --run" in hint

    def test_no_training_state_stays(self, place: Place, whole: Ended) -> None:
        assert not list((place.path / "run").rglob("checkpoint/state*"))

    def test_for_people_it_is_a_table(self, place: Place, whole: Ended) -> None:
        shown = place.edgetran("runs", "show", "run")
        assert shown.status == 0
        for word in ("EMULATED", "~", "seed, fp32", "chosen"):
            assert word in shown.out


def texts_of(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["text"] for answer in answers]


def assert_same_work(run: Path, whole: Path) -> None:
    """Everything but what a clock measured is equal, weights to the bit."""
    for name in ("data", "seed", "baselines", "search", "trained", OFFER):
        assert stage(run, name) == stage(whole, name), name
    for model in ("seed", "chosen"):
        weights = [p / model / "model" / "model.safetensors" for p in (run, whole)]
        assert weights[0].read_bytes() == weights[1].read_bytes(), model
    ours, theirs = (
        rows_of(json.loads((path / "result.json").read_text())) for path in (run, whole)
    )
    assert ours.keys() == theirs.keys()
    for key, row in ours.items():
        for name in ("latency_p50_s", "latency_p99_s", "energy_j", "peak_power_w", "bundle_digest"):
            assert row["measured"]["target"][name] == theirs[key]["measured"]["target"][name]
    cards = [Bundle.open(path / "bundle.tar").card for path in (run, whole)]
    assert cards[0] == dataclasses.replace(cards[1], sequence=cards[0].sequence)
    assert not halves(run)


def assert_says_how_to_go_on(ended: Ended, how: int) -> None:
    if how == signal.SIGKILL:
        assert ended.status == -signal.SIGKILL
        return
    assert ended.status == 130, ended.said
    assert ended.said == [
        "error: interrupted",
        " hint: run the same command again to continue",
    ]


class TestInterrupted:
    @pytest.mark.slow
    def test_late(self, place: Place, whole: Ended) -> None:
        """A run that stands before its last training, killed in it and while deploying."""
        run = shutil.copytree(place.path / "run", place.path / "late")
        for file in ("stages/trained.json", f"stages/{OFFER}.json", "result.json", "bundle.tar"):
            (run / file).unlink()
        shutil.rmtree(run / "chosen")
        with edgetran.connect("nano") as board:
            board.remove("moods")  # the same bundle would not be deployed again
        for how, due in (
            (signal.SIGINT, at("final training", 3)),
            (signal.SIGKILL, at("deploy", 1)),
        ):
            assert_says_how_to_go_on(place.deploy("late").kill_when(due, how), how)
            assert not (run / "result.json").exists()
        ended = place.deploy("late").ended()
        assert ended.status == 0, ended.said
        assert_same_work(run, place.path / "run")

    @pytest.mark.slow
    @pytest.mark.parametrize("board", ["target", "reference"])
    def test_by_hand_while_measuring(self, place: Place, whole: Ended, board: str) -> None:
        run = shutil.copytree(place.path / "run", place.path / f"measuring-{board}")
        for file in ("stages/measurements.json", "result.json", "bundle.tar"):
            (run / file).unlink()
        command = place.deploy(run.name)
        ended = command.kill_when(at(f"measuring ({board})", 1), signal.SIGINT)
        assert_says_how_to_go_on(ended, signal.SIGINT)
        assert not (run / "result.json").exists()

    @pytest.mark.slow
    @pytest.mark.timeout(1500)
    def test_at_every_stage(self, place: Place, whole: Ended) -> None:
        with edgetran.connect("nano") as board:
            board.remove("moods")  # the same bundle would not be deployed again
        run = place.path / "killed"
        done = run / "stages"
        for how, due in (
            (signal.SIGKILL, there(run / "config.json")),
            (signal.SIGINT, at("fine-tuning", 5)),
            (signal.SIGKILL, there(done / "seed.json")),
            (signal.SIGKILL, at("baselines", 1)),
            (signal.SIGINT, there(done / "baselines.json")),
            (signal.SIGKILL, at("teaching")),
            (signal.SIGKILL, at("trial 1", 3)),
            (signal.SIGINT, at("trial 2", 3)),
            (signal.SIGKILL, at("score trial 3", 1)),
            (signal.SIGKILL, at("search", 4)),
            (signal.SIGINT, there(done / "search.json")),
            (signal.SIGKILL, at("final training", 20)),
            (signal.SIGKILL, there(done / "trained.json")),
            (signal.SIGKILL, at("measuring (target)")),
            (signal.SIGKILL, at("measuring (reference)")),
            (signal.SIGKILL, there(done / "measurements.json")),
            (signal.SIGKILL, at("deploy", 1)),
            (signal.SIGKILL, there(run / "result.json")),
        ):
            assert_says_how_to_go_on(place.deploy("killed").kill_when(due, how), how)
        ended = place.deploy("killed").ended()
        assert ended.status == 0, ended.said
        assert_same_work(run, place.path / "run")
        assert ended.json == json.loads((run / "result.json").read_text())
        assert (run / "report.html").exists()


class TestRefused:
    """Mistakes end in one line and a hint, before anything is made."""

    @pytest.fixture
    def refused(self, place: Place) -> Callable[..., Ended]:
        before = sorted(file.name for file in place.path.iterdir())

        def run(message: str, *words: str, leaves: tuple[str, ...] = ()) -> Ended:
            ended = place.edgetran("deploy", "--threads", "1", "--json", *words)
            assert ended.status == 1
            assert len(ended.said) == 2, ended.said
            assert re.match(f"error: .*{message}", ended.said[0]), ended.said
            assert ended.said[1].startswith(" hint: ")
            assert ended.out == ""
            after = {file.name for file in place.path.iterdir()} - {"home"}
            assert after - set(before) == set(leaves)
            return ended

        return run

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"--target": "toaster"}, "toaster"),
            ({"--target": "ADDRESS"}, "127.0.0.1"),
            ({"--data": "nothing/here"}, "no such file, folder or task"),
            ({"--seed": "./no/seed"}, "no such folder"),
            ({"--max-size": "10 parsecs"}, "is not a size"),
        ],
    )
    def test_a_request_that_cannot_be(
        self, refused: Callable[..., Ended], change: dict[str, str], message: str
    ) -> None:
        words = {"--target": "nano", "--data": "moods", "--seed": "seed", "--run": "new", **change}
        if words["--target"] == "ADDRESS":
            words["--target"] = f"127.0.0.1:{free_port()}"
        refused(message, *(part for pair in words.items() for part in pair))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"sentence\tlabel\na fine day\tgood\nno label\n", "line 3: 1 fields"),
            (b"sentence\tlabel\na caf\xe9\tgood\n", "is not UTF-8: line 2"),
        ],
    )
    def test_a_bad_data_file(
        self, place: Place, refused: Callable[..., Ended], content: bytes, message: str
    ) -> None:
        shutil.copytree(place.path / "moods", place.path / "home" / "broken", dirs_exist_ok=True)
        (place.path / "home/broken/train.tsv").write_bytes(content)
        words = ("--target", "nano", "--data", "home/broken", "--seed", "seed", "--run", "new")
        refused(message, *words)

    def test_another_request_in_the_same_directory(
        self, place: Place, whole: Ended, refused: Callable[..., Ended]
    ) -> None:
        before = (place.path / "run/config.json").read_bytes()
        words = ("--target", "nano", "--data", "moods", "--seed", "seed", "--run", "run")
        refused("holds another run", *words)
        assert (place.path / "run/config.json").read_bytes() == before

    def test_rows_that_changed_since(self, place: Place, whole: Ended) -> None:
        file = place.path / "moods" / "dev.tsv"
        before = file.read_bytes()
        try:
            file.write_bytes(before + b"a warm end\tgood\n")
            ended = place.deploy("run").ended()
        finally:
            file.write_bytes(before)
        assert ended.status == 1
        assert "changed since" in ended.said[0]
        assert ended.said[1].startswith(" hint: ")

    @pytest.mark.slow
    def test_an_impossible_budget(self, place: Place, whole: Ended) -> None:
        """Known once even the smallest designs break it; asking again costs nothing more."""
        for _ in range(2):
            ended = place.deploy("impossible", "--max-size", "1kB").ended()
            assert ended.status == 1
            assert len(ended.said) == 2, ended.said
            assert re.match(r"error: no design keeps the limits.* at most 0\.001 MB", ended.said[0])
            assert ended.said[1].startswith(" hint: ")
            assert ended.out == ""
            assert not any(name.startswith("trial") for name in ended.stages)
            run = place.path / "impossible"
            assert not [name for name in ("result.json", "bundle.tar") if (run / name).exists()]
            assert not (run / "stages" / "search.json").exists()
            assert not halves(run)
        assert "fine-tuning" not in ended.stages


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.slow
def test_values_of_pairs_on_this_machine(place: Place) -> None:
    """Regression, two sentences a row, and no board but this one."""
    rng = random.Random(1)
    folder = place.path / "pairs"
    folder.mkdir()
    for name, count in (("train", 400), ("dev", 60)):
        lines = ["sentence1\tsentence2\tscore"]
        for _ in range(count):
            moods = rng.randrange(2), rng.randrange(2)
            worth = sum(moods) * 1.5 + rng.random()
            lines.append("\t".join((*(sentence(mood, rng) for mood in moods), f"{worth:.2f}")))
        (folder / f"{name}.tsv").write_text("\n".join([*lines, ""]))
    ended = place.edgetran(
        *("deploy", "--target", "local", "--data", "pairs", "--seed", "seed", "--run", "pairs-run"),
        *("--threads", "1", "--json", *ROOMY),
    )
    assert ended.status == 0, ended.said
    result = ended.json
    assert (result["data"]["kind"], result["data"]["metric"]) == ("regression", "pearson_spearman")
    for row in result["rows"]:
        assert list(row["measured"]) == ["target"]
        assert row["measured"]["target"]["modelled"] is False
        assert (
            row["measured"]["target"]["energy_j"] is None or row["measured"]["target"]["energy_j"]
        )
    answers = result["answers"]
    asked = place.edgetran(
        *("infer", "local", "--model", "pairs", "--pair", answers[0]["text_pair"], "--json"),
        answers[0]["text"],
    )
    said = asked.json["predictions"][0]["score"]  # alone, not in a batch: int8 scales differ
    assert said == pytest.approx(answers[0]["answer"], abs=0.02)
    assert (place.path / "pairs-run" / "report.html").exists()
    assert place.edgetran("runs", "show", "pairs-run").status == 0
