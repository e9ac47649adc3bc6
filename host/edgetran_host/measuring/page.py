"""report.html of a record: one self-contained page with its figures and pictures."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path

from edgetran_host.job.report import STYLE
from edgetran_host.job.run_directory import write_atomically
from edgetran_host.measuring.drawing import pictures
from edgetran_host.measuring.figures import lines, reasons, title
from edgetran_host.measuring.record_directory import Record

EMULATED = (
    '<p class="emulated">The board was emulated: its times, energy and power (marked ~) are '
    "its model's. Nothing was measured on a board, and there are no samples.</p>"
)


def write_page(record: Record) -> Path:
    """RECORD/report.html, and each picture as a file beside it."""
    drawn = pictures(record)
    for number, picture in enumerate(drawn.values(), 1):
        write_atomically(record.path / f"picture-{number}.png", picture)
    page = (
        f"<!doctype html><meta charset=utf-8><title>edgetran record</title>"
        f"<style>{STYLE}</style>{record_body(record, drawn)}"
    )
    path = record.path / "report.html"
    write_atomically(path, page.encode())
    return path


def record_body(record: Record, drawn: Mapping[str, bytes]) -> str:
    """What the page of a record says, without its head. drawn: title -> PNG."""
    document = record.document
    body = [f"<h1>{html.escape(title(document))}</h1>"]
    if document["modelled"]:
        body.append(EMULATED)
    body.append(f"<p>Verdict: <b>{html.escape(document['verdict'])}</b></p><ul>")
    body += [
        f"<li><code>{html.escape(name)}</code> {html.escape(text)}</li>"
        for name, text in reasons(document)
    ]
    body.append("</ul><table>")
    body += [
        f"<tr><td>{html.escape(label)}</td><td>{html.escape(text)}</td></tr>"
        for label, text in lines(document)
    ]
    body.append("</table>")
    for name, picture in drawn.items():
        source = base64.b64encode(picture).decode()
        escaped = html.escape(name)
        body.append(f'<h2>{escaped}</h2><img alt="{escaped}" src="data:image/png;base64,{source}">')
    body.append(f"<h2>Record</h2><pre>{html.escape(json.dumps(document, indent=2))}</pre>")
    return "".join(body)
