"""A run on disk: finished stages are kept, half-written ones never seen."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
from edgetran_host.job.config import Budget, JobConfig
from edgetran_host.job.run_directory import RunDirectory, write_atomically
from edgetran_protos.bundle import canonical_json
from edgetran_protos.errors import UsageError

CONFIG = JobConfig(
    data="intents", seed="minilm", target="nano", effort="quick", budget=Budget(max_latency_s=0.04)
)


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", CONFIG)
    calls = []
    for _ in range(2):
        result = run.once("seed", lambda: calls.append(1) or {"score": 0.9})
        assert result == {"score": 0.9}
    assert len(calls) == 1
    assert RunDirectory.create(tmp_path / "run", CONFIG).stage("seed") == {"score": 0.9}


def test_an_interrupted_stage_leaves_nothing(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", CONFIG)

    def interrupted() -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.once("seed", interrupted)
    assert run.stage("seed") is None


def test_the_request_survives_and_another_is_refused(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", CONFIG)
    assert run.config() == CONFIG
    other = JobConfig(data="intents", seed="minilm", target="rpi4", effort="quick")
    assert other.identity() != CONFIG.identity()
    with pytest.raises(UsageError, match="holds another run"):
        RunDirectory.create(tmp_path / "run", other)


@pytest.mark.parametrize("request_file", ["search.json", "pretraining.json"])
def test_the_folder_of_a_search_or_a_pre_training_is_refused(
    request_file: str, tmp_path: Path
) -> None:
    (tmp_path / request_file).write_text("{}")
    with pytest.raises(UsageError, match="something else"):
        RunDirectory.create(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == [request_file]


def test_two_processes_do_not_share_a_run(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path / "run", CONFIG)
    second = RunDirectory.create(tmp_path / "run", CONFIG)
    with first.locked(), pytest.raises(UsageError, match="another process"), second.locked():
        pass


def test_what_a_killed_process_left_half_written_is_gone(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    stages = run.folder("stages")
    (stages / ".seed.json.4711.partial").write_text("{")
    (tmp_path / ".bundle.tar.4711.partial").write_bytes(b"half")
    (tmp_path / "bundle.tar").write_bytes(b"whole")
    with run.locked():
        assert sorted(p.name for p in tmp_path.rglob("*")) == [".lock", "bundle.tar", "stages"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    write_atomically(file, b"old")
    with pytest.raises(TypeError):
        write_atomically(file, "not bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_later_option_left_alone_names_no_other_run() -> None:
    """A run that was begun before the option was there goes on under its name."""
    begun_before = {name: value for name, value in CONFIG.to_json().items() if name != "prefer"}
    assert JobConfig.from_json(begun_before).identity() == CONFIG.identity()
    asked = dataclasses.replace(CONFIG, prefer="accuracy")
    assert asked.identity() != CONFIG.identity()
    digest = hashlib.sha256(canonical_json(begun_before)).hexdigest()
    assert CONFIG.identity() == digest[:8]
