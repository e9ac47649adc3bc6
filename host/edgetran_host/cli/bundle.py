"""`edgetran bundle`: looks into bundles, checks, signs and compares them, tells their form."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.bundle_transfer import copy, pull, push
from edgetran_host.cli.options import json_option

EXIT_DIFFERENT = 3


@click.group()
def bundle() -> None:
    """Look into a bundle, check it, sign it, compare two.

    \b
    Examples:
      edgetran bundle show demo/run/bundle.tar
      edgetran bundle verify demo/run/bundle.tar
      edgetran bundle diff old/bundle.tar new/bundle.tar
      edgetran bundle keygen release.pem
      edgetran bundle sign demo/run/bundle.tar --key release.pem
      edgetran bundle schema
      edgetran bundle push demo/run/bundle.tar oci://registry.local/models/intents:7
      edgetran bundle pull oci://registry.local/models/intents:7 --out intents.tar
    """


bundle.add_command(push)
bundle.add_command(pull)
bundle.add_command(copy)


@bundle.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def show(path: Path, as_json: bool) -> None:
    """What the bundle PATH holds: task, variants, claims, files.

    \b
    Examples:
      edgetran bundle show demo/run/bundle.tar
      edgetran bundle show demo/run/bundle.tar --json
    """
    from edgetran_protos.bundle import Bundle

    from edgetran_host.cli.show_bundle import show_bundle
    from edgetran_host.inspecting import describe

    show_bundle(describe(Bundle.open(path)), as_json=as_json)


@bundle.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    "trusted",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="A public key, a CA's certificate, or a folder of them; one must have signed.",
)
@json_option
def verify(path: Path, trusted: tuple[Path, ...], as_json: bool) -> None:
    """Read all of the bundle PATH, compare it with its digests, and check who signed it.

    Without --trust the signatures are listed and not believed. A board decides as this does.

    \b
    Examples:
      edgetran bundle verify demo/run/bundle.tar
      edgetran bundle verify demo/run/bundle.tar --trust release.pub
    """
    from edgetran_protos.signing import Signers

    from edgetran_host.cli.show_bundle import show_checked
    from edgetran_host.inspecting import check, describe
    from edgetran_host.signing import check_trusted, standings

    checked = check(path)
    found = standings(checked, Signers.of(*trusted) if trusted else None)
    show_checked(describe(checked), found, as_json=as_json)
    if trusted:
        check_trusted(path, found)


@bundle.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Private key (PEM).")
@click.option("--certificate", type=click.Path(path_type=Path), help="The key's certificate.")
@click.option(
    "--chain",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Certificates of the authorities between it and a root.",
)
@json_option
def sign(
    path: Path, key: Path, certificate: Path | None, chain: tuple[Path, ...], as_json: bool
) -> None:
    """Sign the bundle PATH; signatures of other keys stay.

    \b
    Examples:
      edgetran bundle sign demo/run/bundle.tar --key release.pem
      edgetran bundle sign bundle.tar --key alice.pem --certificate alice.crt --chain team-ca.crt
    """
    from edgetran_host.cli.show_bundle import show_signed
    from edgetran_host.signing import sign as add_signature

    show_signed(
        path, add_signature(path, key, certificate=certificate, chain=chain), as_json=as_json
    )


@bundle.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--curve",
    type=click.Choice(["p256", "p384", "p521"]),
    default="p256",
    show_default=True,
    help="Elliptic curve of the key (ECDSA).",
)
@json_option
def keygen(path: Path, curve: str, as_json: bool) -> None:
    """Make a key for signing: PATH for you alone, and beside it a .pub for those who trust you.

    \b
    Examples:
      edgetran bundle keygen release.pem
    """
    from edgetran_host.cli.show_bundle import show_key
    from edgetran_host.signing import make_key

    show_key(path, *make_key(path, curve), as_json=as_json)


@bundle.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@json_option
def diff(before: Path, after: Path, as_json: bool) -> None:
    """What changes from the bundle BEFORE to AFTER; exit status 3 when anything does.

    \b
    Examples:
      edgetran bundle diff old/bundle.tar new/bundle.tar
    """
    from edgetran_protos.bundle import Bundle

    from edgetran_host.cli.show_bundle import show_differences
    from edgetran_host.inspecting import differences

    found = differences(Bundle.open(before), Bundle.open(after))
    show_differences(found, as_json=as_json)
    if found:
        raise SystemExit(EXIT_DIFFERENT)


@bundle.command()
def schema() -> None:
    """The JSON Schema of the card: what a bundle says of its model, and what it claims.

    \b
    Examples:
      edgetran bundle schema > card.schema.json
    """
    from edgetran_host.cli.show import print_json
    from edgetran_host.inspecting import card_schema

    print_json(card_schema())
