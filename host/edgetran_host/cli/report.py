"""`edgetran report`: a record or a search as a page with pictures."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option, storage_option


@click.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.option(
    "--oracle",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="That a search was made on: draws random searches beside it.",
)
@storage_option
@json_option
def report(record: Path, oracle: Path | None, storage: str, as_json: bool) -> None:
    """Draw RECORD, or the search of a run directory; writes RECORD/report.html.

    A record: latency histogram, drift chart, power trace. A search, ended or not: fronts, best
    so far, designs, which choices matter, what looser limits would buy, every trial.

    \b
    Examples:
      edgetran report records/intents-local-20260102-030405
      edgetran report runs/search-oracle-friendly-0a1b2c3d --oracle friendly.npz
    """
    from edgetran_host.cli.show import print_json

    path = _search_page(record, oracle, storage) if _is_search(record) else _record_page(record)
    if as_json:
        print_json({"report": str(path)})
    else:
        print(path)


def _is_search(path: Path) -> bool:
    return (path / "search.json").exists()


def _search_page(path: Path, oracle: Path | None, storage: str) -> Path:
    from edgetran_host.cosearch.views.page import write_search_page
    from edgetran_host.cosearch.views.searched import read_search

    searched = read_search(path, storage)
    return write_search_page(searched, path, searched.load_oracle(oracle) if oracle else None)


def _record_page(path: Path) -> Path:
    from edgetran_host.measuring.page import write_page
    from edgetran_host.measuring.record_directory import read_record

    return write_page(read_record(path))
