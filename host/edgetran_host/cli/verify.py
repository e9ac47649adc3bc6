"""`edgetran verify`: derives a record's figures again from its raw samples."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option

EXIT_DIFFERENT = 3


@click.command()
@click.argument("record", type=click.Path(path_type=Path))
@json_option
def verify(record: Path, as_json: bool) -> None:
    """Derive every figure and the verdict of RECORD again; 3 when they are not the same.

    \b
    Examples:
      edgetran verify records/intents-local-20260102-030405
    """
    from edgetran_host.cli.record_table import show_verified
    from edgetran_host.measuring.record_directory import read_record
    from edgetran_host.measuring.verifying import verify

    found = read_record(record)
    verified = verify(found)
    show_verified(verified, found.document, as_json=as_json)
    if not verified.sound:
        raise SystemExit(EXIT_DIFFERENT)
