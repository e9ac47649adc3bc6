"""`edgetran runs` among folders that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from edgetran_host.cli.runs import runs
from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.job.running import finished_run
from edgetran_protos.errors import UsageError

CONFIG = JobConfig(data="intents", seed="minilm", target="nano", effort="quick")
REQUESTS = ("config.json", "search.json", "pretraining.json")
SPOILT = ('{"mod', "[1]", "", '{"model_type": "bert"}', "\xff")


@pytest.mark.parametrize("content", SPOILT)
@pytest.mark.parametrize("request_file", REQUESTS)
def test_a_folder_that_cannot_be_read_hides_no_other(
    request_file: str, content: str, tmp_path: Path
) -> None:
    RunDirectory.create(tmp_path / "good", CONFIG).write_result({"rows": []})
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / request_file).write_text(content, encoding="latin-1")
    listed = CliRunner().invoke(runs, ["list", "--runs", str(tmp_path), "--json"])
    found = {run["name"]: run for run in json.loads(listed.stdout)}
    assert found["good"]["finished"]
    assert not found["spoilt"]["finished"]
    assert request_file in found["spoilt"]["state"]
    shown = CliRunner().invoke(runs, ["list", "--runs", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert finished_run(None, tmp_path).path == tmp_path / "good"


def test_a_name_with_brackets_is_shown_whole(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "[red]roof", CONFIG)
    shown = CliRunner().invoke(runs, ["list", "--runs", str(tmp_path)])
    assert "[red]roof" in shown.output


def test_a_run_that_was_moved_is_shown_where_it_lies(tmp_path: Path) -> None:
    for name, request in (("job", "config.json"), ("hunt", "search.json")):
        run = RunDirectory.create(tmp_path / name, CONFIG)
        run.write_result({"run": "where/it/was"})
        (run.path / "config.json").rename(run.path / request)
        words = ["show", name, "--runs", str(tmp_path), "--json"]
        shown = CliRunner().invoke(runs, words)
        assert json.loads(shown.stdout)["run"] == str(run.path)


@pytest.mark.parametrize("content", SPOILT)
def test_a_folder_that_is_no_run_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=r"config\.json"):
        finished_run(str(tmp_path), Path("runs"))
