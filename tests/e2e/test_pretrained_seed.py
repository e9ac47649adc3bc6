"""A design of mixed heads, pre-trained here, is what deploy and search start from."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from .moods import sentence, write_moods

EDGETRAN = Path(sys.executable).parent / "edgetran"
PATIENCE_S = 850
DESIGN = {  # every letter of heads, a stack of two, layers that differ
    "l": 2,
    "o": [["sa_sdp_8", "sa_wma_8", "l_dct_8", "c_5_8"], ["sa_sdp_8", "sa_sdp_8"]],
    "h": [32, 32],
    "f": [[64, 96], [128]],
}


def edgetran(place: Path, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [EDGETRAN, *words, "--json"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("place")
    write_moods(path / "moods")
    rng = random.Random(1)
    lines = [sentence(rng.randrange(2), rng) for _ in range(3000)]
    documents = [" . ".join(lines[at : at + 10]) for at in range(0, len(lines), 10)]
    (path / "text.txt").write_text("\n\n".join(documents))
    (path / "design.json").write_text(json.dumps(DESIGN))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGETRAN_HOME", str(path / "home"))
        yield path
        for ready in path.glob("home/boards/*/ready.json"):
            os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)


@pytest.fixture(scope="module")
def seed(place: Path) -> str:
    words = ["--design", "design.json", "--text", "text.txt", "--steps", "100", "--out", "seed"]
    words += ["--vocabulary", "300", "--sequence-length", "32", "--batch-size", "16"]
    found = edgetran(place, "pretrain", *words, "--learning-rate", "0.01", "--threads", "1")
    assert found["perplexity"] < found["vocabulary"] / 4
    assert found["path"] == "seed"
    return "seed"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_deploy(place: Path, seed: str) -> None:
    words = ["--target", "nano", "--data", "moods", "--seed", seed, "--train-rows", "1000"]
    words += ["--run", "run", "--threads", "1", "--max-latency", "1s", "--max-size", "10MB"]
    edgetran(place, "deploy", *words)
    assert edgetran(place, "infer", "nano", "--model", "moods", "the film was great")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_search(place: Path, seed: str) -> None:
    words = ["--target", "nano", "--data", "moods", "--seed", seed, "--train-rows", "1000"]
    words += ["--trials", "3", "--finalists", "1", "--effort", "quick", "--run", "search"]
    result = edgetran(place, "search", *words, "--yes")
    assert result["chosen"]
