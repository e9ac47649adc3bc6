"""How a bundle's files came about: an in-toto statement with SLSA's provenance as predicate.

The subjects are the graphs and the tokenizer. The card is none of them: claims are written on
it afterwards, and a release changes it; the manifest binds all together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetran_protos.bundle import canonical_json

from edgetran_host.bundling.origin import Material, Origin

PROVENANCE_FILE = "provenance.intoto.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:edgetran:job:1"
BUILDER = "urn:edgetran:host"


def provenance(origin: Origin, digests: Mapping[str, str]) -> bytes:
    """digests: "sha256:<hex>" by file name."""
    packages = [
        {"uri": f"pkg:pypi/{name}@{number}", "name": name}
        for name, number in sorted(origin.packages.items())
    ]
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": dict(origin.request),
        "internalParameters": {"recipe": dict(origin.recipe), "device": origin.device},
        "resolvedDependencies": [
            _material("rows", origin.rows),
            _material("seed", origin.seed),
            *packages,
            {"uri": f"pkg:generic/python@{origin.python}", "name": "python"},
        ],
    }
    own = origin.packages.get("edgetran-host")
    builder = {"id": BUILDER, "version": {"edgetran-host": own}} if own else {"id": BUILDER}
    statement = {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": _digest(digest)} for name, digest in sorted(digests.items())
        ],
        "predicateType": PREDICATE,
        "predicate": {"buildDefinition": definition, "runDetails": {"builder": builder}},
    }
    return canonical_json(statement)


def _material(role: str, material: Material) -> dict[str, Any]:
    annotations = {"name": material.name}
    if material.licence:
        annotations["licence"] = material.licence
    return {"name": role, "digest": _digest(material.digest), "annotations": annotations}


def _digest(digest: str) -> dict[str, str]:
    algorithm, _, hexes = digest.partition(":")
    return {algorithm: hexes}
