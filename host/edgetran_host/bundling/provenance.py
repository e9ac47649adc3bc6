"""How a bundle's files came about: an in-toto statement with SLSA's provenance as predicate.

The subjects are the graphs and the tokenizer. The card is none of them: claims are written on
it afterwards, and a release changes it; the manifest binds all together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgetran_protos.bundle import MALFORMED, MEDIA_PROVENANCE, Bundle, canonical_json
from edgetran_protos.errors import BundleCorrupt

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


@dataclass(frozen=True)
class Told:
    """What a bundle's own provenance says of it."""

    subjects: Mapping[str, str]  # digest by file name
    request: Mapping[str, Any]
    materials: Mapping[str, str]  # name by role, "rows" and "seed"
    packages: Mapping[str, str]  # package URLs by name


def read_provenance(bundle: Bundle) -> Told | None:
    """None: it has none. Raises BundleCorrupt."""
    digest = next((b.digest for b in bundle.blobs if b.media_type == MEDIA_PROVENANCE), None)
    if digest is None:
        return None
    try:
        statement = json.loads(bundle.read(digest))
        definition = statement["predicate"]["buildDefinition"]
        parts = definition["resolvedDependencies"]
        return Told(
            subjects={o["name"]: f"sha256:{o['digest']['sha256']}" for o in statement["subject"]},
            request=dict(definition["externalParameters"]),
            materials={o["name"]: str(o["annotations"]["name"]) for o in parts if "digest" in o},
            packages={o["name"]: str(o["uri"]) for o in parts if "uri" in o},
        )
    except MALFORMED as exc:
        raise BundleCorrupt(
            f"{bundle.path}: its provenance is malformed: {exc!r}", hint="pack it again"
        ) from exc


def _material(role: str, material: Material) -> dict[str, Any]:
    annotations = {"name": material.name}
    if material.licence:
        annotations["licence"] = material.licence
    return {"name": role, "digest": _digest(material.digest), "annotations": annotations}


def _digest(digest: str) -> dict[str, str]:
    algorithm, _, hexes = digest.partition(":")
    return {algorithm: hexes}
