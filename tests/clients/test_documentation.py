"""The first example of docs/protocol.md runs as it is written, but for the address."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

TRITON = re.compile(r"## With tritonclient\n+```python\n(?P<program>.*?)```", re.DOTALL)


def test_the_example_for_tritonclient(
    root: Path, triton_python: Path, isolated: dict[str, str], address: str
) -> None:
    found = TRITON.search((root / "docs" / "protocol.md").read_text(encoding="utf-8"))
    assert found is not None
    program = found["program"].replace("127.0.0.1:50051", address)
    command = [str(triton_python), "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=isolated, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\[b'\w+' b'\w+'\] \[[0-9. ]+\]\n", done.stdout)
