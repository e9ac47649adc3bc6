"""What a model was made of: noted when it is made, so that packing later changes nothing."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

MAKERS = (  # the packages whose versions can change what comes out
    "edgetran-host",
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "accelerate",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "nncf",
    "optuna",
)


@dataclass(frozen=True)
class Material:
    """Something that went in, known by its SHA-256."""

    name: str
    digest: str  # "sha256:<hex>"
    licence: str  # empty: not named


@dataclass(frozen=True)
class Origin:
    """No path, no host and no time: the same work has the same origin."""

    request: Mapping[str, Any]  # what was asked for
    recipe: Mapping[str, Any]  # what that meant: epochs, rates, rows
    rows: Material
    seed: Material
    packages: Mapping[str, str]  # name -> version
    python: str
    device: str = ""  # that it learnt on, cpu or cuda: their sums differ in the last digits

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> Origin:
        rows, seed = Material(**raw["rows"]), Material(**raw["seed"])
        return Origin(**{**raw, "rows": rows, "seed": seed})


def packages_here() -> dict[str, str]:
    found = {}
    for name in MAKERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an extra that was not needed
            continue
    return found


def python_here() -> str:
    return platform.python_version()
