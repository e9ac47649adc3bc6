"""Bundles are made once, however many boards want them, and few are kept."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from edgetran_host.cosearch.bundle_shelf import KEPT, BundleShelf
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.sampling import sample

from tests.host.cosearch.test_seed_space import PRODUCT

DESIGNS = sample(PRODUCT.space, KEPT + 4, np.random.default_rng(0))


class Writer:
    def __init__(self) -> None:
        self.written: list[Path] = []

    def __call__(self, design: Architecture, runtime: str, precision: str, path: Path) -> None:
        self.written.append(path)
        path.write_bytes(b"bundle")


def test_many_boards_want_one_design(tmp_path: Path) -> None:
    writer = Writer()
    shelf, together = BundleShelf(tmp_path, writer), threading.Barrier(4)
    paths = []

    def want() -> None:
        together.wait()
        with shelf.bundle(DESIGNS[0], "onnxruntime", "int8") as path:
            paths.append(path)
            assert path.exists()

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.written == paths[:1]
    assert len(set(paths)) == 1


def test_what_is_in_use_stays_and_of_the_rest_the_latest(tmp_path: Path) -> None:
    shelf = BundleShelf(tmp_path, Writer())
    with shelf.bundle(DESIGNS[0], "onnxruntime", "fp32") as used:
        for design in DESIGNS[1:]:
            with shelf.bundle(design, "onnxruntime", "fp32") as path:
                last = path
        assert used.exists()
        assert last.exists()
    assert len(list(tmp_path.glob("*.tar"))) == KEPT


def test_one_that_failed_is_made_again(tmp_path: Path) -> None:
    fails = [True]
    writer = Writer()

    def write(design: Architecture, runtime: str, precision: str, path: Path) -> None:
        if fails.pop():
            raise RuntimeError("interrupted")
        writer(design, runtime, precision, path)

    shelf = BundleShelf(tmp_path, write)
    asked = (DESIGNS[0], "openvino", "int8")
    with pytest.raises(RuntimeError), shelf.bundle(*asked):
        pass
    fails.append(False)
    with shelf.bundle(*asked) as path:
        assert path.read_bytes() == b"bundle"


def test_what_a_killed_process_left_is_gone(tmp_path: Path) -> None:
    (tmp_path / ".make-x").mkdir()
    (tmp_path / ".make-x" / "model.onnx").touch()
    BundleShelf(tmp_path, Writer())
    assert list(tmp_path.iterdir()) == []
