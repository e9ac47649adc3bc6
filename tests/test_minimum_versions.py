"""The oldest Python each part must run on: 3.9 on a board, 3.6 for a worker process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DAEMON = ROOT / "daemon" / "edgetran_daemon"
BOARD = (DAEMON, ROOT / "sdk", ROOT / "protos" / "edgetran_protos", ROOT / "devices")
WORKER = (DAEMON / "__init__.py", DAEMON / "runtimes", DAEMON / "worker")
HOST = (ROOT / "host",)
VERMIN = Path(sys.executable).with_name("vermin")
OPTIONS = {"3.6": ["--eval-annotations"], "3.9": [], "3.10": []}  # elsewhere nothing evaluates them
TOO_NEW = {
    "3.6": ["first: list[int] = []", "from dataclasses import dataclass", "print(f'{1=}')"],
    "3.9": ["import tomllib", "match 1:\n    case _:\n        pass"],
    "3.10": ["import tomllib"],
}


def complaints(version: str, *paths: Path) -> str:
    """What vermin finds to need a later Python; empty when nothing does."""
    sources = [source for path in paths for source in ([path] if path.is_file() else _of(path))]
    assert sources
    ended = subprocess.run(
        [
            *(str(VERMIN), f"--target={version}-", "--violations", "--no-tips"),
            *OPTIONS[version],
            *map(str, sources),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stdout, ended.stderr
    return ended.stdout if ended.returncode else ""


def _of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


@pytest.mark.parametrize(
    ("version", "paths"),
    [("3.6", WORKER), ("3.9", BOARD), ("3.10", HOST)],
    ids=["worker", "board", "host"],
)
def test_nothing_needs_a_later_python(version: str, paths: tuple[Path, ...]) -> None:
    assert not complaints(version, *paths)


@pytest.mark.parametrize(
    ("version", "text"), [(version, text) for version, texts in TOO_NEW.items() for text in texts]
)
def test_the_check_sees_what_is_too_new(version: str, text: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(text)
    assert str(module) in complaints(version, module)
