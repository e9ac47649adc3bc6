"""`edgetran report`: a record as a page with pictures."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option


@click.command()
@click.argument("record", type=click.Path(path_type=Path))
@json_option
def report(record: Path, as_json: bool) -> None:
    """Draw RECORD: latency histogram, drift chart, power trace; writes RECORD/report.html.

    \b
    Examples:
      edgetran report records/intents-local-20260102-030405
    """
    from edgetran_host.cli.show import print_json
    from edgetran_host.measuring.page import write_page
    from edgetran_host.measuring.record_directory import read_record

    path = write_page(read_record(record))
    if as_json:
        print_json({"report": str(path)})
    else:
        print(path)
