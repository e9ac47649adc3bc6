"""What a bundle holds, whether all of it is there, and how two bundles differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgetran_protos.bundle import CARD_SCHEMA, Bundle
from edgetran_protos.errors import BundleCorrupt

from edgetran_host.bundling.provenance import read_provenance

TOLD_BY_DIGEST = ("golden", "tokenizer_digest")  # too much to print, or no news beside blobs


@dataclass(frozen=True)
class Difference:
    """A value of the card, or a file; None: the bundle has none."""

    what: str  # "claims.accuracy @ rpi4 onnxruntime-int8", "file model.onnx"
    before: Any
    after: Any


def describe(bundle: Bundle) -> dict[str, Any]:
    """Plain data: the card without its golden rows, where it comes from, and the files."""
    card = asdict(bundle.card)
    golden, told = card.pop("golden"), read_provenance(bundle)
    return {
        "path": str(bundle.path),
        "digest": bundle.digest,
        "size_bytes": bundle.size_bytes,
        "card": card,
        "golden_rows": len(golden["texts"]),
        "provenance": asdict(told) if told else None,
        "files": [
            {"file": blob.file, "size_bytes": blob.size_bytes, "digest": blob.digest}
            for blob in bundle.blobs
        ],
    }


def check(path: Path) -> Bundle:
    """Reads every byte that the bundle names, and compares sizes and digests.

    Raises BundleError or BundleCorrupt, which names the file.
    """
    bundle = Bundle.open(path)
    for blob in bundle.blobs:
        found = len(bundle.read(blob.digest))  # a wrong digest raises
        if found != blob.size_bytes:
            raise BundleCorrupt(
                f"{path}: {blob.file or blob.digest} has {found} bytes, the manifest says"
                f" {blob.size_bytes}",
                hint="pack or copy it again",
            )
    known = {blob.digest for blob in bundle.blobs}
    for variant in bundle.card.variants:
        if variant.digest not in known:
            raise BundleCorrupt(
                f"{path}: the graph of {variant.name} is not among the files",
                hint="pack or copy it again",
            )
    _check_provenance(bundle)
    return bundle


def card_schema() -> dict[str, Any]:
    """The JSON Schema of the cards that this edgetran writes."""
    text = files("edgetran_protos").joinpath("schemas", f"card-{CARD_SCHEMA}.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def _check_provenance(bundle: Bundle) -> None:
    """A statement about other files than these says nothing. Raises BundleCorrupt."""
    told, digests = read_provenance(bundle), {blob.file: blob.digest for blob in bundle.blobs}
    for name, digest in told.subjects.items() if told else ():
        if digests.get(name) != digest:
            raise BundleCorrupt(
                f"{bundle.path}: its provenance is of another {name}", hint="pack it again"
            )


def differences(before: Bundle, after: Bundle) -> list[Difference]:
    """Of the cards, value by value, then of the files; in the order of the names."""
    found = _changed(_values(before), _values(after), "")
    return found + _changed(_files(before), _files(after), "file ")


def _changed(before: dict[str, Any], after: dict[str, Any], kind: str) -> list[Difference]:
    return [
        Difference(kind + name, before.get(name), after.get(name))
        for name in sorted(before | after)
        if before.get(name) != after.get(name)
    ]


def _files(bundle: Bundle) -> dict[str, Any]:
    """Digest and size by name; what has no name is the layout's own."""
    named = (blob for blob in bundle.blobs if blob.file)
    return {blob.file: f"{blob.digest} ({blob.size_bytes} bytes)" for blob in named}


def _values(bundle: Bundle) -> dict[str, Any]:
    """Every value of the card under a name of its own."""
    card = asdict(bundle.card)
    found: dict[str, Any] = {"golden rows": len(card["golden"]["texts"])}
    for variant in card.pop("variants"):
        name = variant.pop("name")
        found |= _flat(variant, f"variants.{name}")
    for claim in card.pop("claims"):
        where = f"{claim['metric']} @ {claim['board']} {claim['variant']}"
        how = "measured" if claim["measured"] else "modelled"
        spread = "" if claim["low"] is None else f" [{claim['low']:.6g}, {claim['high']:.6g}]"
        found[f"claims.{where}"] = f"{claim['value']:.6g}{spread}, {how}"
    rest = {name: value for name, value in card.items() if name not in TOLD_BY_DIGEST}
    return found | _flat(rest, "")


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}.{name}" if prefix else name
        found |= _flat(value, path) if isinstance(value, Mapping) else {path: value}
    return found
