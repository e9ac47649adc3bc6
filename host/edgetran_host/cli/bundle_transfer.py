"""`edgetran bundle push|pull|copy`: bundles to and from OCI registries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from edgetran_host.cli.options import json_option

F = TypeVar("F", bound=Callable[..., Any])


def insecure_option(function: F) -> F:
    return click.option("--insecure", is_flag=True, help="The registry speaks plain http.")(
        function
    )


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("reference")
@insecure_option
@json_option
def push(path: Path, reference: str, insecure: bool, as_json: bool) -> None:
    """Send the bundle PATH to a registry, as REFERENCE; only what is not there yet.

    Signatures go along. Credentials are those of `docker login`.

    \b
    Examples:
      edgetran bundle push demo/run/bundle.tar oci://registry.local/models/intents:7
      edgetran bundle push bundle.tar oci://localhost:5000/intents --insecure
    """
    from edgetran_host.bundling.reference import Reference
    from edgetran_host.bundling.transfer import push as send
    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.show_bundle import show_pushed

    asked = Reference.parse(reference)
    with progress(as_json=as_json) as on_progress:
        pushed = send(path, asked, insecure, on_progress)
    show_pushed(pushed, as_json=as_json)


@click.command()
@click.argument("reference")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A .tar, or a folder; what is there is replaced when the new one is whole.",
)
@insecure_option
@json_option
def pull(reference: str, out: Path, insecure: bool, as_json: bool) -> None:
    """Fetch the bundle REFERENCE from a registry; goes on where an earlier try stopped.

    \b
    Examples:
      edgetran bundle pull oci://registry.local/models/intents:7 --out intents.tar
      edgetran bundle pull oci://registry.local/models/intents@sha256:0123... --out intents.tar
    """
    from edgetran_host.bundling.reference import Reference
    from edgetran_host.bundling.transfer import pull as fetch
    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.show_bundle import show_checked
    from edgetran_host.inspecting import describe
    from edgetran_host.signing import standings

    asked = Reference.parse(reference)
    with progress(as_json=as_json) as on_progress:
        pulled = fetch(asked, out, insecure, on_progress)
    show_checked(describe(pulled), standings(pulled, None), as_json=as_json)


@click.command()
@click.argument("source")
@click.argument("target")
@insecure_option
@json_option
def copy(source: str, target: str, insecure: bool, as_json: bool) -> None:
    """Copy a bundle from SOURCE to TARGET: files, folders or references, signatures included.

    \b
    Examples:
      edgetran bundle copy bundle.tar folder
      edgetran bundle copy oci://staging.local/intents:7 oci://registry.local/intents:7
    """
    from edgetran_host.bundling.transfer import copy as bring
    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.show_bundle import show_copied

    with progress(as_json=as_json) as on_progress:
        digest = bring(source, target, insecure, on_progress)
    show_copied(target, digest, as_json=as_json)
