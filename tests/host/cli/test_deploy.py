"""What `edgetran deploy` refuses before it looks at a board."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result
from edgetran_host.cli.deploy import deploy
from edgetran_protos.errors import UsageError


def ran(*options: str) -> Result:
    return CliRunner().invoke(deploy, ["--target", "nano", "--data", "missing", *options])


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
def test_numbers_are_finite(number: str) -> None:
    found = ran("--max-accuracy-cost", number)
    assert found.exit_code == 2
    assert "--max-accuracy-cost" in found.output


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_random_seeds_are_those_that_every_generator_takes(seed: str) -> None:
    found = ran("--random-seed", seed)
    assert found.exit_code == 2
    assert "--random-seed" in found.output


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (("--target", "nano", "--bundle", "b.tar", "--dry-run"), "--dry-run"),
        (("--target", "nano", "--waves", "1,100%"), "--waves"),
        (("--target", "nano", "--bundle", "b.tar", "--max-latency", "1ms"), "--max-latency"),
        (("--target", "nano", "--bundle", "b.tar", "--effort", "quick"), "--effort"),
        (("--fleet", "f.toml", "--bundle", "b.tar", "--max-size", "1MB"), "--max-size"),
        (("--fleet", "f.toml", "--bundle", "b.tar", "--threads", "2"), "--threads"),
    ],
)
def test_options_that_would_do_nothing(options: tuple[str, ...], refused: str) -> None:
    """`--dry-run` above all: it deployed."""
    found = CliRunner().invoke(deploy, options)
    assert found.exit_code == 2
    assert f"there is nothing for {refused}" in found.output


@pytest.mark.parametrize("kind", ["latency", "energy", "size", "power"])
def test_an_empty_limit_is_none_that_was_meant(kind: str) -> None:
    """As `--max-latency "$LIMIT"` gives where LIMIT is not set."""
    found = ran(f"--max-{kind}", "")
    assert isinstance(found.exception, UsageError)
    assert f"is not a {kind}" in str(found.exception)
