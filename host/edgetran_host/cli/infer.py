"""`edgetran infer`: sentences in, answers out, from a board."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import rich_click as click

from edgetran_host.cli.options import json_option, threads_option

BATCH = 64  # texts a request: a slow board answers them well within the deadline


@click.command()
@click.argument("target")
@click.argument("texts", nargs=-1)
@click.option("--model", default=None, help="Deployed name; not needed when there is only one.")
@click.option("--pair", default=None, help="Second text, for tasks on pairs.")
@threads_option
@json_option
def infer(
    target: str,
    texts: tuple[str, ...],
    model: str | None,
    pair: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Ask the model on TARGET about TEXTS (or lines of standard input).

    \b
    Examples:
      edgetran infer nano "turn on the kitchen light"
      cat sentences.txt | edgetran infer nano --json
    """
    import edgetran

    from edgetran_host.cli.show import show_predictions

    lines = _checked(texts or _piped())
    rows = [line if pair is None else (line, pair) for line in lines]
    with edgetran.connect(target, threads=threads) as board:
        batches = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
        predictions = [one for batch in batches for one in board.predict(batch, model=model)]
        show_predictions(lines, pair, predictions, board.describe(), as_json=as_json)


def _piped() -> list[str]:
    """The lines of standard input that say something; none of a terminal."""
    from edgetran_protos.errors import DataError

    if sys.stdin.isatty():
        return []
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(
            f"standard input is not UTF-8: {exc.reason} at byte {exc.start}",
            hint="convert it first, e.g. with iconv -t UTF-8",
        ) from exc
    return [line.strip() for line in text.split("\n") if line.strip()]


def _checked(lines: Sequence[str]) -> list[str]:
    from edgetran_protos.errors import UsageError

    if not lines:
        raise UsageError("no text given", hint='like: edgetran infer nano "turn on the light"')
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise UsageError(f"text {number} is empty", hint="give it some words")
    return list(lines)
