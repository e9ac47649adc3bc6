"""A bundle that came from a registry, kept beside fleet.toml: a resume needs its very bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edgetran_protos.bundle import Bundle, check_digest_name


def kept(fleet: Path, bundle: Path) -> Path:
    """fleet.bundles/<hex>.tar; whole or not there. It may have been signed since it last came."""
    hexes = check_digest_name(Bundle.open(bundle).digest)
    place = fleet.with_suffix(".bundles") / f"{hexes}.tar"
    place.parent.mkdir(exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    shutil.copyfile(bundle, partial)
    os.replace(partial, place)
    return place
