"""Writes the rows of the task: python -m edgetran_host.tasks.intents FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from edgetran_protos.errors import EdgeTranError

from edgetran_host.tasks.intents.writing import write_tables


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Write train.tsv and dev.tsv of the smart-home task into FOLDER."""
    try:
        for path in write_tables(folder):
            click.echo(path)
    except EdgeTranError as exc:
        sys.exit(f"error: {exc}" + (f"\nhint: {exc.hint}" if exc.hint else ""))


if __name__ == "__main__":
    main()
