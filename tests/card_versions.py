"""Bundles as other versions of edgetran write them: the same model, another card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

from edgetran_protos.bundle import (
    CARD_MINOR,
    CARD_SCHEMA,
    MEDIA_CARD,
    MEDIA_MANIFEST,
    Bundle,
    canonical_json,
    digest_of,
)
from edgetran_protos.layout import write_layout

Change = Callable[[dict[str, Any]], None]


def schema_1(card: dict[str, Any]) -> None:
    """One tolerance for all variants, no accuracy costs."""
    schema_2(card)
    card["schema"] = 1
    del card["golden"]["tolerances"], card["max_accuracy_cost"]
    for variant in card["variants"]:
        del variant["accuracy_cost"]


def schema_2(card: dict[str, Any]) -> None:
    """Claims without level and protocol."""
    card["schema"] = 2
    del card["minor"]
    for claim in card["claims"]:
        del claim["level"], claim["protocol"]


def next_minor(card: dict[str, Any]) -> None:
    """Additions at every depth."""
    card["minor"] = CARD_MINOR + 1
    for place in (card, card["golden"], card["variants"][0], card["variants"][0]["work"]):
        place["addition"] = {"of": ["a", "later", "version"]}


def next_schema(card: dict[str, Any]) -> None:
    """Something that nobody may pass over."""
    card["schema"] = CARD_SCHEMA + 1
    card["golden"] = {"form": "another"}


class Rewritten:
    """A bundle on disk whose card this version need not be able to read."""

    def __init__(self, bundle: Bundle, change: Change, path: Path) -> None:
        self.path = path
        manifest = json.loads(bundle.manifest)
        self.blobs = {layer["digest"]: bundle.read(layer["digest"]) for layer in manifest["layers"]}
        config = manifest["config"]["digest"]
        self.blobs[config] = bundle.read(config)
        for layer in manifest["layers"]:
            if layer["mediaType"] == MEDIA_CARD:
                card = json.loads(self.blobs.pop(layer["digest"]))
                change(card)
                data = canonical_json(card)
                layer["digest"], layer["size"] = digest_of(data), len(data)
                self.blobs[layer["digest"]] = data
        text = canonical_json(manifest)
        self.digest = digest_of(text)
        self.blobs[self.digest] = text
        entry = {"mediaType": MEDIA_MANIFEST, "digest": self.digest, "size": len(text)}
        tree = {
            f"blobs/sha256/{digest.removeprefix('sha256:')}": data
            for digest, data in self.blobs.items()
        }
        tree["oci-layout"] = canonical_json({"imageLayoutVersion": "1.0.0"})
        tree["index.json"] = canonical_json({"schemaVersion": 2, "manifests": [entry]})
        write_layout(path, tree)
