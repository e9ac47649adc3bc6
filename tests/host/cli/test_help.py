"""What `--help` says of every command, and whether its examples are commands."""

from __future__ import annotations

import importlib
import inspect
import shlex
from collections.abc import Iterator, Sequence

import click
import pytest
from edgetran_host.cli.main import COMMANDS

Names = tuple[str, ...]


def commands() -> Iterator[tuple[Names, click.Command]]:
    for verb, (place, _) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        yield from below((verb,), getattr(importlib.import_module(module), attribute))


def below(path: Names, command: click.Command) -> Iterator[tuple[Names, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, member in command.commands.items():
            yield from below((*path, name), member)


ALL = dict(commands())
named = pytest.mark.parametrize("path", ALL, ids=" ".join)


def examples(command: click.Command) -> list[list[str]]:
    """Words of each `edgetran` line below "Examples:", with the lines that continue it."""
    text = inspect.cleandoc(command.help or "").partition("Examples:\n")[2].partition("\n\n")[0]
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("    ") and lines:
            lines[-1] += line
        else:
            lines.append(line)
    found = [shlex.split(line.partition("  (")[0].partition(" > ")[0]) for line in lines]
    return [words[1:] for words in found if words[:1] == ["edgetran"]]


@named
def test_there_are_examples(path: Names) -> None:
    assert [words for words in examples(ALL[path]) if tuple(words[: len(path)]) == path]


@named
def test_examples_are_commands(path: Names) -> None:
    for words in examples(ALL[path]):
        parse(words)


def parse(words: Sequence[str]) -> None:
    """As the shell's words are: known options, as many arguments as there may be."""
    size = max(size for size in range(len(words) + 1) if tuple(words[:size]) in ALL)
    command = ALL[tuple(words[:size])]
    context = click.Context(command, info_name=" ".join(words[:size]))
    given, surplus, _ = command.make_parser(context).parse_args(list(words[size:]))
    assert not surplus
    for needed in command.params:
        value = given.get(needed.name or "")
        missing = value is None or needed.value_is_missing(value)
        assert not (needed.required and missing), needed.name


@named
def test_options_say_what_they_do(path: Names) -> None:
    options = [p for p in ALL[path].params if isinstance(p, click.Option)]
    assert [option.opts for option in options if not option.help] == []
