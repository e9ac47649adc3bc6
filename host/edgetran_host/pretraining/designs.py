"""Which design to pre-train: a known one by name, a line of text, or a JSON file.

A line is LAYERSxHIDDEN:HEADS:STACK for layers of one shape, as in
    4x256:sa_sdp*2,c_5*2:1024      four heads of 64, one feed-forward matrix of 1024
    2x128:sa_sdp*2:512+256         a stack of two
Designs whose layers differ are written as JSON, {"l", "o", "h", "f"}.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from edgetran_protos.errors import ArchitectureError, UsageError

from edgetran_host.space.architecture import Architecture

KNOWN = {  # Turc et al. 2019; base: Devlin et al. 2019
    "bert-tiny": "2x128:sa_sdp*2:512",
    "bert-mini": "4x256:sa_sdp*4:1024",
    "bert-small": "4x512:sa_sdp*8:2048",
    "bert-medium": "8x512:sa_sdp*8:2048",
    "bert-base": "12x768:sa_sdp*12:3072",
}
LINE = re.compile(r"(?P<layers>\d+)x(?P<hidden>\d+):(?P<heads>[\w*,]+):(?P<stack>\d+(\+\d+)*)")
HINT = f"name one of {', '.join(KNOWN)}, a JSON file, or a line like 4x256:sa_sdp*2,c_5*2:1024"


def design_of(asked: str) -> Architecture:
    """Raises UsageError, or ArchitectureError naming the rule that is broken."""
    line = LINE.fullmatch(KNOWN.get(asked.lower(), asked))
    if line is not None:
        return _repeated(line)
    try:
        raw = json.loads(Path(os.path.expanduser(asked)).read_bytes())
    except OSError as error:
        raise UsageError(f"{asked!r} is no design", hint=HINT) from error
    except ValueError as error:
        raise UsageError(f"{asked} is not JSON: {error}", hint=HINT) from error
    if not isinstance(raw, dict):
        raise UsageError(f"{asked} is not one design", hint='a design is {"l", "o", "h", "f"}')
    found = raw.get("architecture", raw)
    if not isinstance(found, dict):
        raise UsageError(f"{asked} holds no design", hint='a design is {"l", "o", "h", "f"}')
    return Architecture.from_dict(found)


def _repeated(line: re.Match[str]) -> Architecture:
    layers, hidden = int(line["layers"]), int(line["hidden"])
    kinds: list[str] = []
    for part in line["heads"].split(","):
        kind, _, count = part.partition("*")
        if count and not count.isdecimal():
            raise ArchitectureError(f"{part!r} is no kind of head and its number", hint=HINT)
        kinds += [kind] * int(count or 1)
    if not layers or not kinds or hidden < len(kinds):
        raise ArchitectureError(f"{line.string!r} has no layers, or heads without a size")
    heads = [f"{kind}_{hidden // len(kinds)}" for kind in kinds]
    stack = [int(width) for width in line["stack"].split("+")]
    return Architecture.from_dict(
        {"l": layers, "o": [heads] * layers, "h": [hidden] * layers, "f": [stack] * layers}
    )
