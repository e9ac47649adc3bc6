"""The `edgetran surrogate` verbs as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgetran_host.cli import main as command

from tests.host.surrogates.conftest import MakeRows


@pytest.fixture
def edgetran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*words: object) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        monkeypatch.setattr("sys.argv", ["edgetran", *map(str, words)])
        try:
            command.main()
        except SystemExit as end:
            code = int(end.code or 0)
        else:
            code = 0
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


@pytest.fixture
def files(tmp_path: Path, make_rows: MakeRows) -> Path:
    for name, count, seed in (("train", 20, 1), ("held", 30, 2), ("one", 1, 3), ("five", 5, 4)):
        (tmp_path / f"{name}.json").write_text(json.dumps(make_rows(count, seed)))
    return tmp_path


def test_fit_score_show_recalibrate(edgetran, files: Path) -> None:
    model, moved = files / "model.json", files / "moved.json"
    code, out, _ = edgetran("surrogate", "fit", files / "train.json", "--out", model)
    assert code == 0
    assert "latency_s" in out
    code, out, _ = edgetran("surrogate", "score", model, files / "held.json", "--json")
    scores = json.loads(out)
    assert set(scores) == {"latency_s", "energy_j", "peak_power_w"}
    assert set(scores["latency_s"]) == {"mape", "median_ape", "spearman", "coverage_90", "n"}
    assert scores["latency_s"]["n"] == 30
    assert scores["latency_s"]["mape"] < 0.05
    code, out, _ = edgetran("surrogate", "show", model)
    assert code == 0
    assert "feed_forward_flops" in out
    five = files / "five.json"
    for words in (
        ("recalibrate", model, five, "--out", moved),
        ("fit", five, "--start-from", model, "--out", moved),
    ):
        code, *_ = edgetran("surrogate", *words)
        assert code == 0
        assert json.loads(moved.read_text())["rows"] == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "one.json", "--out", "m.json"), "designs are too few"),
        (("fit", "none.json", "--out", "m.json"), "none.json does not exist"),
        (("score", "train.json", "held.json"), "is no surrogate"),
        (("show", "none.json"), "none.json does not exist"),
        (("show", "broken.json"), "is no JSON"),
    ],
)
def test_mistakes_end_in_one_line(
    edgetran, files: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(files)
    (files / "broken.json").write_text("{")
    code, _, err = edgetran("surrogate", *words)
    assert code == 1
    assert said in err
    assert "hint:" in err
    assert "Traceback" not in err
