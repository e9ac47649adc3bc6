"""The frames of the pages; what they show comes as JSON or as a drawn body."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from typing import Any

SECTIONS = {"/": "Boards", "/runs": "Runs", "/records": "Records", "/fleets": "Fleets"}


def page(title: str, script: str, here: str, data: Mapping[str, str] | None = None) -> str:
    """script: of `static`, without its suffix. data: what it is told, as attributes of <main>."""
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if path == here else ""}>{name}</a>'
        for path, name in SECTIONS.items()
    )
    told = "".join(f' data-{key}="{html.escape(value)}"' for key, value in (data or {}).items())
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        '<meta name=color-scheme content="light dark">'
        f"<title>{html.escape(title)} - edgetran</title>"
        '<link rel=icon href="/static/icon.svg"><link rel=stylesheet href="/static/dashboard.css">'
        f'<script type=module src="/static/{script}.js"></script>'
        f"<header><b>edgetran</b><nav>{links}</nav><span id=link role=status></span></header>"
        f"<main{told}><noscript>This page needs JavaScript of this very server; the same figures "
        "are at <a href=/api/boards>/api/boards</a>.</noscript></main></html>"
    )


def plain(value: Any) -> Any:
    """As JSON has it: a board may send a figure that is no number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def event(name: str, value: object) -> str:
    """One event of a stream of server-sent events."""
    return f"event: {name}\ndata: {json.dumps(value)}\n\n"
