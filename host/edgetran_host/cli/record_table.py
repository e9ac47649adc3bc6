"""A record for a terminal: figures, verdict, reasons; and what verifying it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgetran_host.cli.show import print_json
from edgetran_host.job.figures import MODELLED_NOTE
from edgetran_host.measuring.figures import lines, reasons, title
from edgetran_host.measuring.verifying import Verified


def show_record(document: Mapping[str, Any], path: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"record": document, "path": str(path)})
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(title(document))}[/bold]")
    table = Table(box=None, show_header=False, pad_edge=False)
    for label, text in lines(document):
        table.add_row(label, escape(text))
    console.print(table)
    console.print(f"verdict: [bold]{document['verdict']}[/bold]")
    for name, text in reasons(document):
        console.print(f"  {name}: [dim]{escape(text)}[/dim]", soft_wrap=True)
    if document["modelled"]:
        console.print(f"[dim]{MODELLED_NOTE}[/dim]")
    console.print(f"record: {path}  (edgetran verify, edgetran report)", soft_wrap=True)


def show_verified(found: Verified, document: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"sound": found.sound, **asdict(found), "modelled": document["modelled"]})
        return
    source = "the board's model" if document["modelled"] else f"{found.samples} pieces of samples"
    console = Console(highlight=False)
    if found.sound:
        console.print(f"{found.figures} figures and the verdict follow from {source}")
        console.print(f"verdict: {document['verdict']}")
        return
    table = Table("what", "the record says", "derived", box=None, header_style="bold underline")
    for one in found.differences:
        table.add_row(one.what, escape(str(one.kept)), escape(str(one.derived)))
    console.print(table)
    console.print(f"[bold]the record does not follow from {source}[/bold]")
