"""The bill of materials of a bundle, as CycloneDX: its files, what they came of, what runs them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from edgetran_protos.bundle import canonical_json
from packageurl import PackageURL

from edgetran_host.bundling.origin import Material, Origin

SBOM_FILE = "sbom.cdx.json"
SERIAL = uuid.UUID("6a1f0f0e-8f0c-5c1d-9d0b-3f6f9c0d7e55")  # of our serial numbers (RFC 9562, v5)
PACKAGES = {  # runtime -> the package that brings it to a board, where one does
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai-edge-litert",
}


def sbom(
    name: str,
    licence: str,
    digests: Mapping[str, str],
    runtimes: Sequence[str],
    origin: Origin,
) -> bytes:
    """digests: "sha256:<hex>" by file name; runtimes: of the variants.

    The same arguments give the same bytes: neither a time nor a random serial number is in it.
    """
    model = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=name,
        bom_ref="model",
        licenses=_licences(licence),
    )
    files = [
        Component(
            type=ComponentType.FILE, name=file, bom_ref=f"file:{file}", hashes=[_hash(digest)]
        )
        for file, digest in sorted(digests.items())
    ]
    libraries = [_library(runtime, origin) for runtime in sorted(set(runtimes) & set(PACKAGES))]
    rows = _material("rows", ComponentType.DATA, origin.rows)
    seed = _material("seed", ComponentType.MACHINE_LEARNING_MODEL, origin.seed)
    bom = Bom(components=[*files, *libraries, rows, seed])
    bom.metadata.component = model
    bom.register_dependency(model, [*files, *libraries, rows, seed])
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["metadata"]["timestamp"], document["serialNumber"]
    serial = uuid.uuid5(SERIAL, canonical_json(document).decode())
    return canonical_json({**document, "serialNumber": f"urn:uuid:{serial}"})


def _material(role: str, kind: ComponentType, material: Material) -> Component:
    return Component(
        type=kind,
        name=material.name,
        bom_ref=role,
        hashes=[_hash(material.digest)],
        licenses=_licences(material.licence),
    )


def _library(runtime: str, origin: Origin) -> Component:
    """With the version that the graphs were checked with, if this machine had it."""
    package = PACKAGES[runtime]
    version = origin.packages.get(package)
    return Component(
        type=ComponentType.LIBRARY,
        name=package,
        version=version,
        bom_ref=f"runtime:{runtime}",
        scope=ComponentScope.REQUIRED,
        purl=PackageURL("pypi", name=package, version=version),
    )


def _licences(licence: str) -> list[License]:
    """SPDX where it is that, else the words themselves."""
    return [LicenseFactory().make_from_string(licence)] if licence else []


def _hash(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest.partition(":")[2])
