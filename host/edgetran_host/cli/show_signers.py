"""Prints whose signatures a board accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from edgetran import Signer, Trusted
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgetran_host.cli.show import print_json

SHOWN_PRINT = 12  # digits of a fingerprint, as where a key was made


def show_signers(target: str, found: Trusted, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(found))
        return
    asks = "only bundles that one of these signed" if found.required else "unsigned bundles, too"
    console = Console(highlight=False)
    console.print(f"{escape(target)} takes {asks}")
    if found.signers:
        console.print(_table(found.signers))
    else:
        print("nobody is trusted; `edgetran device trust add` changes that")


def show_added_signers(target: str, added: Sequence[Signer], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in added])
        return
    for one in added:
        print(f"{target} trusts {one.name}, a {one.kind} (key sha256 {_short(one)})")


def show_removed_signer(target: str, name: str, revoked: bool, *, as_json: bool) -> None:
    if as_json:
        print_json({"removed": name, "revoked": revoked})
        return
    how = "refuses it, whoever vouches for it" if revoked else "trusts it no longer"
    print(f"{name}: {target} {how}; what serves goes on until it is loaded again")


def _table(signers: Sequence[Signer]) -> Table:
    table = Table("signer", "kind", "key sha256", "", box=None, padding=(0, 2, 0, 0))
    for one in signers:
        table.add_row(escape(one.name), one.kind, _short(one), "REVOKED" if one.revoked else "")
    return table


def _short(one: Signer) -> str:
    return one.fingerprint[:SHOWN_PRINT]
