"""Prints bundles: what one holds, and how two differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgetran_host.cli.show import print_json
from edgetran_host.inspecting import Difference
from edgetran_host.signing import Standing

if TYPE_CHECKING:
    from edgetran_host.bundling.transfer import Pushed  # it needs a package that others do not

SHOWN_DIGEST = 19  # "sha256:" and twelve digits
SHOWN_PRINT = 12  # digits of a key's fingerprint
NONE = "-"
UNITS = {"_s": (1e3, "ms"), "_j": (1e3, "mJ"), "_w": (1.0, "W"), "_bytes": (1e-6, "MB")}


def show_bundle(found: Mapping[str, Any], *, as_json: bool) -> None:
    """found: as `inspecting.describe` gives it."""
    if as_json:
        print_json(found)
        return
    card, console = found["card"], Console(highlight=False)
    layers = card["architecture"].get("l")  # a graph from elsewhere has none
    shape = f"{layers} layers, " if layers else ""
    labels = ", ".join(card["labels"]) if card["labels"] else "a number"
    console.print(f"[bold]{escape(card['name'])}[/bold]: {card['task']} -> {escape(labels)}")
    console.print(
        f"{shape}{card['sequence_length']} tokens, {found['golden_rows']} golden"
        f" rows, {found['size_bytes'] / 1e6:.2f} MB in all"
    )
    console.print(f"[dim]{found['digest']}[/dim]")
    release = card["sequence"] or "none: any bundle may follow it"
    console.print(f"release {release}; licence {escape(card['licence'] or 'not named')}")
    if found["provenance"]:
        made = sorted(found["provenance"]["materials"].items())
        console.print("made of " + ", ".join(f"{role} {escape(name)}" for role, name in made))
    _variants(console, card["variants"])
    if card["claims"]:
        _claims(console, card["claims"])
    files = Table("file", "MB", "digest", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for one in found["files"]:
        size = f"{one['size_bytes'] / 1e6:.3f}"
        files.add_row(escape(one["file"] or NONE), size, one["digest"][:SHOWN_DIGEST])
    console.print(files)


def show_checked(
    found: Mapping[str, Any], signatures: Sequence[Standing], *, as_json: bool
) -> None:
    if as_json:
        print_json({"sound": True, **found, "signatures": [asdict(one) for one in signatures]})
        return
    size_mb = found["size_bytes"] / 1e6
    print(f"{found['path']}: sound, {len(found['files'])} files, {size_mb:.2f} MB")
    print(found["digest"])
    for one in signatures:
        print(f"signature: {_worth(one)}")
    if not signatures:
        print("signature: none")


def _worth(one: Standing) -> str:
    key = f" (key sha256 {one.key[:SHOWN_PRINT]})" if one.key else ""
    if one.refused:
        return f"REFUSED{key}: {one.refused}"
    return f"by {one.signer}{key}" if one.signer else f"not checked without --trust{key}"


def show_signed(path: Path, key: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(path), "key": key})
        return
    print(f"{path}: signed (key sha256 {key[:SHOWN_PRINT]})")


def show_key(private: Path, public: Path, key: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"private": str(private), "public": str(public), "key": key})
        return
    print(f"{private}: the private key, for you alone; whoever has it signs as you")
    print(f"{public}: the public key, for boards that are to trust it (sha256 {key[:SHOWN_PRINT]})")


def show_pushed(found: Pushed, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(found))
        return
    signed = f", {found.signatures} signatures" if found.signatures else ""
    print(f"sent {found.sent_bytes / 1e6:.2f} of {found.size_bytes / 1e6:.2f} MB{signed}")
    print(found.where)


def show_copied(target: str, digest: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"target": target, "digest": digest})
        return
    print(f"{target}\n{digest}")


def show_differences(found: Sequence[Difference], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        print("the same")
        return
    console = Console(highlight=False, soft_wrap=True)
    for one in found:
        console.print(f"[bold]{escape(one.what)}[/bold]")
        console.print(f"  {_short(one.before)} [dim]->[/dim] {_short(one.after)}")


def _variants(console: Console, variants: Sequence[Mapping[str, Any]]) -> None:
    table = Table(
        "variant",
        "MB",
        "logits off by",
        "points lost",
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )
    for one in variants:
        lost = one["accuracy_cost"]
        table.add_row(
            one["name"],
            f"{one['size_bytes'] / 1e6:.2f}",
            f"{one['max_abs_error']:.2g}",
            NONE if lost is None else f"{100 * lost:.2f}",
        )
    console.print(table)


def _claims(console: Console, claims: Sequence[Mapping[str, Any]]) -> None:
    table = Table(
        "claim",
        "value",
        "interval",
        "of",
        "variant",
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )
    for one in claims:
        factor, unit = _unit(one["metric"])
        mark = "" if one["measured"] else "~"
        low, high = one["low"], one["high"]
        spread = NONE if low is None else f"{factor * low:.4g} to {factor * high:.4g}"
        table.add_row(
            one["metric"],
            f"{mark}{factor * one['value']:.4g} {unit}".rstrip(),
            spread,
            escape(one["board"] or NONE),
            one["variant"],
        )
    console.print(table)
    if not all(one["measured"] for one in claims):
        console.print("[dim]~ modelled, not measured on a board[/dim]")


def _unit(metric: str) -> tuple[float, str]:
    return next((unit for end, unit in UNITS.items() if metric.endswith(end)), (1.0, ""))


def _short(value: Any) -> str:
    if value is None:
        return NONE
    text = str(value)
    if text.startswith("sha256:"):
        digest, _, rest = text.partition(" ")
        return f"{digest[:SHOWN_DIGEST]} {rest}".rstrip()
    return escape(text if len(text) <= 60 else f"{text[:57]}...")
