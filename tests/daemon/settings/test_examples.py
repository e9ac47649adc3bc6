"""The examples below `edgetran-daemon --help`, `install --help` and `pair --help` are commands."""

from __future__ import annotations

import argparse
import re

import pytest
from edgetran_daemon.security import pairing
from edgetran_daemon.settings import installing, options

PROGRAM = re.compile(r"^  (?:sudo /opt/edgetran/bin/)?(edgetran-daemon.*)$", re.MULTILINE)


@pytest.mark.parametrize("parser", [options.parser(), installing.parser(), pairing.parser()])
def test_examples_are_commands(parser: argparse.ArgumentParser) -> None:
    found = [line.partition("  ")[0].split() for line in PROGRAM.findall(parser.epilog or "")]
    own = parser.prog.split()
    mine = [words[len(own) :] for words in found if words[: len(own)] == own]
    assert mine
    for words in mine:
        if words != ["install"]:  # of the main help; installing.py's own parser takes the rest
            parser.parse_args(words)
