"""The final table of a run for a terminal of eighty columns."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edgetran_host.cli.show import print_json
from edgetran_host.job.figures import Section, columns, notes, sections

LABEL_WIDTH = 23
MAX_CELL_WIDTH = 20
PADDING = 2


def show_result(result: dict[str, Any], *, as_json: bool) -> None:
    """The final table of a run, and a few answers."""
    if as_json:
        print_json(result)
        return
    console = Console()
    console.print(result_table(result, console.width))
    for line in notes(result):
        console.print(f"[dim]{escape(line)}[/dim]", highlight=False)
    for answer in result["answers"]:
        text = " | ".join(filter(None, (answer["text"], answer["text_pair"])))
        console.print(f'  "{escape(text)}"', highlight=False)
        told = answer["answer"] if isinstance(answer["answer"], str) else f"{answer['answer']:.3f}"
        mark = Text.assemble("    -> ", (told, "bold"), f"  (expected {answer['expected']})")
        console.print(mark)
    console.print(f"run: {escape(result['run'])}  (report.html, bundle.tar, result.json)")


def result_table(result: dict[str, Any], width: int) -> Group:
    """A block a section; all blocks share the widths of their columns."""
    head = Text(f"{result['data']['task']}: the seed and the chosen model", style="bold")
    blocks = [
        _block(section, columns(result) if at == 0 else [], width)
        for at, section in enumerate(sections(result))
    ]
    return Group(head, *blocks)


def _block(section: Section, names: list[str], width: int) -> Table:
    """names: of the models; empty where the block above already shows them."""
    count = len(section.lines[0][1])
    table = Table(
        title=section.title,
        title_justify="left",
        title_style="italic",
        box=None,
        show_header=bool(names),
        pad_edge=False,
    )
    table.add_column("", width=LABEL_WIDTH)
    for at in range(count):
        table.add_column(
            names[at] if names else "",
            width=min(MAX_CELL_WIDTH, (width - LABEL_WIDTH) // count - PADDING),
            justify="right",
            style="bold" if at == count - 1 else "",
        )
    for label, cells in section.lines:
        table.add_row(label, *cells)
    return table
