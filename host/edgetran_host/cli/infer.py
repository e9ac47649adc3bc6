"""`edgetran infer`: sentences in, answers out, from a board."""

from __future__ import annotations

import sys

import rich_click as click

from edgetran_host.cli.options import json_option


@click.command()
@click.argument("target")
@click.argument("texts", nargs=-1)
@click.option("--model", default=None, help="Deployed name; not needed when there is only one.")
@click.option("--pair", default=None, help="Second text, for tasks on pairs.")
@json_option
def infer(
    target: str, texts: tuple[str, ...], model: str | None, pair: str | None, as_json: bool
) -> None:
    """Ask the model on TARGET about TEXTS (or lines of standard input).

    \b
    Examples:
      edgetran infer nano "turn on the kitchen light"
      cat sentences.txt | edgetran infer nano --json
    """
    import edgetran
    from edgetran_protos.errors import UsageError

    from edgetran_host.cli.show import show_predictions

    lines = list(texts) or [line.strip() for line in sys.stdin if line.strip()]
    if not lines:
        raise UsageError("no text given", hint='like: edgetran infer nano "turn on the light"')
    inputs: list[str | tuple[str, str]] = [line if pair is None else (line, pair) for line in lines]
    with edgetran.connect(target) as board:
        show_predictions(lines, board.predict(inputs, model=model), board.describe(), as_json)
