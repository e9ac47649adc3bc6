"""`edgetran search` on an assumed truth: what it prints, what it leaves, what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from edgetran_host.cli.search import search
from edgetran_host.cosearch.figures import as_option, change, figure
from edgetran_host.cosearch.views.searched import read_search
from edgetran_host.job.units import parse
from edgetran_protos.errors import BudgetError, EdgeTranError


@pytest.fixture(scope="module")
def oracle(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        import make_oracles
    finally:
        sys.path.pop(0)
    path = tmp_path_factory.mktemp("oracle") / "friendly.npz"
    make_oracles.oracle_of(make_oracles.friendly()).save(path)
    return path


def ran(oracle: Path, run: Path, *options: str) -> Result:
    given = ["--oracle", str(oracle), "--run", str(run), "--method", "random", *options]
    return CliRunner().invoke(search, given, env={"COLUMNS": "80"})


def test_the_table_and_the_result(oracle: Path, tmp_path: Path) -> None:
    found = ran(oracle, tmp_path / "run", "--target", "nano,rpi4", "--trials", "5")
    assert found.exit_code == 0, found.output
    assert "ASSUMED" in found.stdout
    assert "5/5" in found.stderr
    result: dict[str, Any] = json.loads((tmp_path / "run" / "result.json").read_text())
    (chosen,) = result["chosen"]
    assert chosen["place"] in ("jetson-nano:cpu", "jetson-nano:gpu", "rpi4:cpu")
    assert chosen["place"] in found.stdout
    assert figure("latency_s", chosen["outcome"]["latency_s"]) in found.stdout
    assert set(chosen["sources"].values()) == {"assumed"}
    assert result["evaluations"] == 5
    again = ran(oracle, tmp_path / "run", "--target", "nano,rpi4", "--trials", "5", "--json")
    shown = json.loads(again.stdout)
    assert shown["chosen"] == result["chosen"]
    other = ran(oracle, tmp_path / "run", "--target", "nano", "--trials", "5")
    assert "holds another search" in str(other.exception)


@pytest.mark.parametrize("request_file", ["config.json", "pretraining.json"])
def test_the_run_of_another_command_keeps_its_result(
    request_file: str, oracle: Path, tmp_path: Path
) -> None:
    for name in (request_file, "result.json"):
        (tmp_path / name).write_text("{}")
    found = ran(oracle, tmp_path, "--trials", "3")
    assert "holds something else" in str(found.exception)
    assert (tmp_path / "result.json").read_text() == "{}"


def test_it_asks_until_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that was refused leaves a folder, too."""
    (tmp_path / "work").mkdir()
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("edgetran_host.cli.search.sys", terminal)
    options = ["--target", "nano", "--data", "missing", "--run", str(tmp_path)]
    found = CliRunner().invoke(search, options, input="n\n")
    assert "Train and measure up to 60 designs on nano" in found.stderr
    assert found.exit_code == 1
    assert "missing" not in str(found.exception)


def test_without_any_input_it_does_not_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetran_host.cli.search.sys", SimpleNamespace(stdin=None))
    options = ["--target", "nano", "--engine", "none", "--run", str(tmp_path)]
    found = CliRunner().invoke(search, options)
    assert "no engine" in str(found.exception)


def test_nothing_feasible(oracle: Path, tmp_path: Path) -> None:
    options = ("--target", "rpi4", "--trials", "4", "--max-latency", "1ms", "--max-size", "1GB")
    found = ran(oracle, tmp_path / "run", *options)
    assert isinstance(found.exception, BudgetError)
    (word, value) = found.exception.hint.removeprefix("try ").split()
    assert word == "--max-latency"
    block = json.loads((tmp_path / "run" / "result.json").read_text())["blocked"]
    assert parse("latency", value) >= block["needed"]["latency_s"]
    assert "is no obstacle" in found.stdout  # the size
    loosened = ran(oracle, tmp_path / "wider", *options[:4], "--max-latency", value)
    assert loosened.exit_code == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--objective", "scor=1"), "'scor' is no word of an objective"),
        (("--objective", "score=0"), "weighs nothing"),
        (("--objective", "score=many"), "is no number"),
        (("--target", "nanoo"), "no board or unit 'nanoo'"),
        (("--target", "local"), "the oracle knows nothing of local"),
        (("--time", "3x"), "is not a time"),
        (("--time", ""), "is not a time"),
        (("--max-latency", ""), "is not a latency"),
        (("--max-power", "5"), "is not a power"),
        (("--method", "boshcod"), "no search method"),
        (("--space", "seed"), "knows no pretrained seed"),
        (("--space", "missing.toml"), "cannot read missing.toml"),
        (("--storage", "nonsense://x"), "is no storage that can be used"),
    ],
)
def test_mistakes(oracle: Path, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    found = ran(oracle, tmp_path / "run", *options)
    assert isinstance(found.exception, EdgeTranError)
    assert says in str(found.exception)
    assert found.exception.hint


@pytest.mark.parametrize(
    ("value", "said"), [(2.0, "2x less"), (8.0, "2x more"), (4.001, "the same"), (None, "-")]
)
def test_changes_are_told_in_words(value: float | None, said: str) -> None:
    assert change("peak_power_w", value, 4.0) == said


@pytest.mark.slow
def test_a_small_budget_of_trainings_is_spent_sooner_on_what_is_dear(
    oracle: Path, tmp_path: Path
) -> None:
    """The designer minds prices less, the less of the budget is left."""

    def costs(trainings: str) -> list[float]:
        run = tmp_path / trainings
        words = ("--method", "boshcode", "--trainings", trainings, "--trials", "9")
        words += ("--target", "nano,rpi4", "--finalists", "1", "--repeats", "1")
        assert ran(oracle, run, *words).exit_code == 0
        entries = read_search(run).tried
        return [one.evaluation.training_cost for one in entries if one.evaluation]

    small, large = costs("3"), costs("300")
    assert small[:5] == large[:5]  # the first, before any model
    assert sum(small) > sum(large[: len(small)]) + 0.5


@pytest.mark.parametrize("value", [0.0123456, 1.0, 999.9, 12.0, 3.4e-5])
def test_a_suggested_limit_lets_the_value_in(value: float) -> None:
    _, text = as_option("latency_s", value).split()
    assert value <= parse("latency", text) * (1 + 1e-9)
    assert parse("latency", text) <= value * 1.011


def test_the_published_search_has_an_option_of_its_own(oracle: Path, tmp_path: Path) -> None:
    """Its trials are those of the method by its name; the last option counts."""
    given = ("--trials", "2", "--finalists", "1", "--repeats", "1", "--json")
    results = [
        json.loads(ran(oracle, tmp_path / options[-1], *given, *options).stdout)
        for options in (("--legacy",), ("--method", "legacy"))
    ]
    assert [result["request"]["method"] for result in results] == ["legacy", "legacy"]
    assert results[0]["chosen"] == results[1]["chosen"]
