"""What a run's model is made of; noted once, so that it is told alike whenever it is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgetran_host.bundling.origin import Material, Origin, packages_here, python_here
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.seeds import seed_digest
from edgetran_host.training.device import compute_device

STAGE = "origin"
PLACES = ("data", "seed")  # of a request: may be folders of this machine, told by their names
OF_A_BOARD = ("target", "model")  # where it serves, and as what: no part of how it came about


def origin_of(work: Workbench, refinement: Mapping[str, Any] | None = None) -> Origin:
    """refinement: its settings, of a model that was refined; noted with the first call."""
    return Origin.from_json(work.run.once(STAGE, lambda: _origin(work, refinement).to_json()))


def _origin(work: Workbench, refinement: Mapping[str, Any] | None) -> Origin:
    request = {k: v for k, v in work.config.to_json().items() if k not in OF_A_BOARD}
    for name in PLACES:
        request[name] = _without_folders(request[name])
    if refinement is not None:
        request["refinement"] = dict(refinement)
    return Origin(
        request=request,
        recipe=asdict(work.effort),
        rows=Material(work.task.name, work.rows_digest(), licence=""),
        seed=Material(work.seed.title, f"sha256:{seed_digest(work.seed)}", work.seed.licence),
        packages=packages_here(),
        python=python_here(),
        device=compute_device().type,
    )


def _without_folders(place: str) -> str:
    """A folder's own name; a name of a package or on the hub stays."""
    path = Path(os.path.expanduser(place))
    return path.resolve().name if path.exists() else place
