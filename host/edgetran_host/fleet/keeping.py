"""A bundle that came from a registry, kept beside fleet.toml: a resume needs its very bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edgetran_protos.bundle import Bundle, check_digest_name


def kept(fleet: Path, bundle: Path) -> Path:
    """fleet.bundles/<hex>.tar, or a folder of that name; whole or not there."""
    hexes = check_digest_name(Bundle.open(bundle).digest)
    place = fleet.with_suffix(".bundles") / f"{hexes}{bundle.suffix}"
    if place.exists():
        return place
    place.parent.mkdir(exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    if bundle.is_dir():
        shutil.copytree(bundle, partial)
    else:
        shutil.copyfile(bundle, partial)
    os.replace(partial, place)
    return place
