"""Which board of the catalogue this machine is, as its firmware tells the kernel.

/proc/device-tree/model: "Raspberry Pi 4 Model B Rev 1.4", NUL-terminated. A PC has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from edgetran_devices import BoardSpec, load_board

MODEL = Path("/proc/device-tree/model")
KINDS = {"Raspberry Pi 4 ": "rpi4", "NVIDIA Jetson Nano ": "jetson-nano"}  # how a model begins


def kind_of_machine(model: Path = MODEL) -> Optional[BoardSpec]:
    """None: none that the catalogue has."""
    try:
        text = model.read_bytes().rstrip(b"\0").decode(errors="replace")
    except OSError:
        return None
    found = (name for start, name in KINDS.items() if f"{text} ".startswith(start))
    return next((load_board(name) for name in found), None)
