"""Light boards (benchmarks/light_boards.py), a bundle for them, and a fleet.toml of them."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from edgetran_devices import load_board, predict
from edgetran_protos.bundle import Bundle, Claim, Work

NUMBERS = count()
PLACE = "jetson-nano:cpu"
WORK = Work(24.0, 0.0, 512.0, 48.0, 192.0, 8)  # the tiny bundle's


@pytest.fixture(scope="session")
def light(root: Path) -> ModuleType:
    path = root / "benchmarks" / "light_boards.py"
    spec = importlib.util.spec_from_file_location("light_boards", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


class Group:
    """Boards of one test among those of a process, by the test's own names."""

    def __init__(self, process: Any, prefix: str, asked: Sequence[Any]) -> None:
        self._process = process
        self._prefix = prefix
        process.add([replace(one, name=prefix + one.name) for one in asked])

    def address(self, name: str) -> str:
        return str(self._process.address(self._prefix + name))

    def start(self, name: str) -> None:
        self._process.start(self._prefix + name)

    def stop(self, name: str) -> None:
        self._process.stop(self._prefix + name)

    def deploys(self) -> dict[str, int]:
        return self._own(self._process.deploys())

    def received_bytes(self) -> dict[str, int]:
        return self._own(self._process.received_bytes())

    def _own(self, found: Mapping[str, int]) -> dict[str, int]:
        return {
            name.removeprefix(self._prefix): value
            for name, value in found.items()
            if name.startswith(self._prefix)
        }


@pytest.fixture(scope="session")
def process(light: ModuleType) -> Iterator[Any]:
    """Of all boards; in a folder whose name is short enough for sockets."""
    folder = tempfile.TemporaryDirectory(prefix="fleet")
    with folder as path, light.LightBoards(Path(path), []) as found:
        yield found


@pytest.fixture
def boards(light: ModuleType, process: Any) -> Callable[[Mapping[str, str]], Group]:
    """boards({"one": "well", ...}): they run."""

    def make(kinds: Mapping[str, str]) -> Group:
        asked = [light.Asked(name, kind) for name, kind in kinds.items()]
        return Group(process, f"{next(NUMBERS)}-", asked)

    return make


def promises(factor: float = 1.0) -> list[Claim]:
    """What an emulated nano's CPU needs for the tiny bundle, times `factor`."""
    found = predict(load_board("nano").units["cpu"], WORK)
    latency_s = found.latency_s * factor
    variant = "onnxruntime-fp32"
    return [
        Claim("latency_p50_s", latency_s, None, None, False, PLACE, variant),
        Claim("latency_p99_s", 2 * latency_s, None, None, False, PLACE, variant),
        Claim("accuracy", 0.9, 0.8, 1.0, True, "", variant),
    ]


@pytest.fixture
def make_bundle(tiny: ModuleType, tmp_path: Path) -> Callable[..., Bundle]:
    """One that keeps its promises on an emulated nano; a later number is a newer release."""

    def make(number: int = 1, **changes: Any) -> Bundle:
        given = {"promised": promises(), "sequence": number, "seed": number, **changes}
        found: Bundle = tiny.make(tmp_path / f"bundle-{number}.tar", **given)
        return found

    return make


@pytest.fixture
def write_fleet(tmp_path: Path) -> Callable[..., Path]:
    def write(addresses: Mapping[str, str], more: str = "", groups: Mapping[str, str] = {}) -> Path:
        path = tmp_path / "fleet.toml"
        lines = ['name = "kitchens"', 'model = "home"', more]
        for name, address in addresses.items():
            lines += ["[[boards]]", f'name = "{name}"', f'address = "{address}"']
            if name in groups:
                lines.append(f'groups = ["{groups[name]}"]')
        path.write_text("\n".join(lines))
        return path

    return write
