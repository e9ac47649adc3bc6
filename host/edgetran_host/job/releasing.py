"""A finished run's bundle, put together from what the run keeps: the same bytes at any time.

It holds what the run's last training gave, and promises what its last measurement found. No
graph is made or run for it, and no board is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetran_protos.bundle import Bundle, model_name
from edgetran_protos.errors import UsageError

from edgetran_host.bundling.release import as_release
from edgetran_host.job.claims import claims
from edgetran_host.job.run_directory import RunDirectory

CHOSEN = "chosen"  # where in a run the chosen model is
REFINED = "refine"  # where in a run its refinement is


def pack_run(path: Path, out: Path) -> Bundle:
    """What the run serves, refined or not. Raises UsageError when it is not finished."""
    run = last_of(RunDirectory(path))
    data, sequence = run.stage("data") or RunDirectory(path).stage("data"), run.stage("release")
    if data is None or sequence is None or run.stage("measurements") is None:
        raise UsageError(f"{path} is not finished", hint="give the same `edgetran deploy` again")
    name = run.config().model or model_name(data["task"])
    return release(run, Bundle.open(run.path / CHOSEN / f"{name}.tar"), out)


def release(run: RunDirectory, packed: Bundle, out: Path) -> Bundle:
    """packed: as training left it, without promises."""
    measured, sequence = _stage(run, "measurements"), _stage(run, "release")["sequence"]
    promised = [
        claim
        for variant in packed.card.variants
        for claim in claims(
            _stage(run, f"offer-{variant.name}")["scores"], measured["offers"][variant.name]
        )
    ]
    return as_release(packed, promised, sequence, out)


def last_of(run: RunDirectory) -> RunDirectory:
    """The refinement's best node, where one serves instead of what the search chose."""
    refined = RunDirectory(run.path / REFINED).result()
    if refined is None:
        return run
    node = RunDirectory(run.path / REFINED / f"node-{refined['refinement']['best']}")
    return node if node.path.exists() else run  # the root has none: it is the run itself


def _stage(run: RunDirectory, name: str) -> dict[str, Any]:
    found = run.stage(name)
    if found is None:
        raise UsageError(
            f"{run.path} lacks its stage {name}", hint="give the same `edgetran deploy` again"
        )
    return found
