"""What `import edgetran` offers is pinned, and it stays light."""

from __future__ import annotations

import subprocess
import sys

import edgetran
from edgetran import errors
from edgetran_protos.errors import BY_NAME

NAMES = [
    "AddressBook",
    "Answer",
    "AsyncBoard",
    "AsyncLease",
    "Board",
    "BoardInfo",
    "Bundle",
    "Deployment",
    "Lease",
    "LeaseState",
    "LeaseWaiter",
    "Measurement",
    "OnPiece",
    "OnProgress",
    "Piece",
    "Prediction",
    "Progress",
    "Quantity",
    "RuntimeInfo",
    "SensorInfo",
    "SensorReport",
    "Signer",
    "TelemetrySample",
    "Trusted",
    "connect",
    "connect_async",
]
HEAVY = ("torch", "transformers", "onnxruntime", "onnx", "scipy", "pandas", "edgetran_host")


def test_the_public_names() -> None:
    assert sorted(edgetran.__all__) == sorted([*NAMES, *BY_NAME])
    assert all(hasattr(edgetran, name) for name in edgetran.__all__)


def test_every_error_is_offered() -> None:
    assert sorted(errors.__all__) == sorted(BY_NAME)
    assert all(getattr(errors, name) is kind for name, kind in BY_NAME.items())


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, edgetran; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
