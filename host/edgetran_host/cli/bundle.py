"""`edgetran bundle`: looks into bundles, checks and compares them."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option

EXIT_DIFFERENT = 3


@click.group()
def bundle() -> None:
    """Look into a bundle, check it, compare two.

    \b
    Examples:
      edgetran bundle show demo/run/bundle.tar
      edgetran bundle verify demo/run/bundle.tar
      edgetran bundle diff old/bundle.tar new/bundle.tar
    """


@bundle.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def show(path: Path, as_json: bool) -> None:
    """What the bundle PATH holds: task, variants, claims, files."""
    from edgetran_protos.bundle import Bundle

    from edgetran_host.cli.show_bundle import show_bundle
    from edgetran_host.inspecting import describe

    show_bundle(describe(Bundle.open(path)), as_json=as_json)


@bundle.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Read all of the bundle PATH and compare it with the digests it names."""
    from edgetran_host.cli.show_bundle import show_checked
    from edgetran_host.inspecting import check, describe

    show_checked(describe(check(path)), as_json=as_json)


@bundle.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@json_option
def diff(before: Path, after: Path, as_json: bool) -> None:
    """What changes from the bundle BEFORE to AFTER; exit status 3 when anything does."""
    from edgetran_protos.bundle import Bundle

    from edgetran_host.cli.show_bundle import show_differences
    from edgetran_host.inspecting import differences

    found = differences(Bundle.open(before), Bundle.open(after))
    show_differences(found, as_json=as_json)
    if found:
        raise SystemExit(EXIT_DIFFERENT)
