"""The way to LiteRT's converter is found or explained; its failures are clear, its work counted."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran_host.export import count_work, export_variants
from edgetran_host.export.graph import export_graph
from edgetran_host.export.litert import SETTING, converter_python
from edgetran_host.export.litert_work import count_litert_work
from edgetran_host.export.program import export_program
from edgetran_host.training.prediction import predict
from edgetran_protos.bundle import Work
from edgetran_protos.errors import ExportError


def by_path(name: str, path: Path) -> object:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
tiny_models = by_path("tiny_models", HERE / "tiny_models.py")
ROWS = tiny_models.make_rows()  # type: ignore[attr-defined]


def small_model() -> torch.nn.Module:
    found: torch.nn.Module = tiny_models.make_model(  # type: ignore[attr-defined]
        tiny_models.one_kind("sa_sdp"),  # type: ignore[attr-defined]
        "absolute",
    )
    return found


@pytest.mark.parametrize(
    ("named", "said"),
    [("/nowhere/python", "cannot be run"), (sys.executable, "has no converter")],
    ids=["absent", "without-the-converter"],
)
def test_an_interpreter_that_cannot_convert_is_named_with_what_to_do(
    named: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("litert_torch"):
        pytest.skip("this interpreter has the converter")
    monkeypatch.setenv(SETTING, named)
    with pytest.raises(ExportError, match=said) as caught:
        export_variants(small_model(), ROWS, ["fp32"], tmp_path, "litert")  # type: ignore[arg-type]
    assert "pip install litert-torch" in caught.value.hint
    assert SETTING in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_without_a_setting_the_way_to_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("litert_torch"):
        pytest.skip("this interpreter has the converter")
    monkeypatch.delenv(SETTING, raising=False)
    with pytest.raises(ExportError, match="not set up") as caught:
        converter_python()
    assert f"torch=={torch.__version__.partition('+')[0]}" in caught.value.hint


def test_a_converter_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho working >&2\necho no such operator >&2\nexit 1\n")
    broken.chmod(0o755)
    folder = tmp_path / "made"
    folder.mkdir()
    monkeypatch.setenv(SETTING, str(broken))
    with pytest.raises(ExportError, match=r"LiteRT fp32: no such operator$"):
        export_variants(small_model(), ROWS, ["fp32"], folder, "litert")  # type: ignore[arg-type]
    assert not list(folder.iterdir())


def test_the_work_of_a_graph_that_is_known(tmp_path: Path, tiny: object) -> None:
    litert = by_path("tiny_litert", HERE.parents[1] / "daemon" / "tiny_litert.py")
    path = tmp_path / "tiny.tflite"
    path.write_bytes(litert.graph(tiny))  # type: ignore[attr-defined]
    found = count_litert_work(path, Work(1.0, 1.0, 512.0, 1.0, 1.0, 8))
    # (1, 4) @ (4, 3); weights, a bias and two axes; words (10, 4) and types (2, 4)
    assert found == Work(24.0, 0.0, 512.0, 4 * (12 + 3 + 2), 4 * (40 + 8), 8)


def test_the_work_of_a_converted_graph(tmp_path: Path) -> None:
    tiny_models.skip_without_exporter("litert")  # type: ignore[attr-defined]
    model = tiny_models.make_model(tiny_models.MIXED, "relative")  # type: ignore[attr-defined]
    export_graph(model, tmp_path / "source.onnx")
    onnx = count_work(tmp_path / "source.onnx")
    exact, rough = (
        item.variant.work
        for item in export_variants(model, ROWS, ["fp32", "int8"], tmp_path, "litert")
    )
    # the converter repeats a product or two that ONNX shares between heads
    assert exact.matmul_flops == pytest.approx(onnx.matmul_flops, rel=0.1)
    assert exact.int8_ops == 0
    assert rough.matmul_flops + rough.int8_ops == pytest.approx(exact.matmul_flops)
    assert rough.int8_ops > 0.5 * exact.matmul_flops
    assert exact.embedding_bytes == onnx.embedding_bytes
    assert rough.weight_bytes < 0.6 * exact.weight_bytes
    assert rough.embedding_bytes == exact.embedding_bytes / 4


@pytest.mark.parametrize("rows", [None, 1])
def test_a_program_computes_what_the_model_does(tmp_path: Path, rows: int | None) -> None:
    model = tiny_models.make_model(tiny_models.MIXED, "relative")  # type: ignore[attr-defined]
    export_program(model, tmp_path / "model.pt2", rows)
    program = torch.export.load(tmp_path / "model.pt2").module()
    names = ("input_ids", "attention_mask", "token_type_ids")
    for count in (1,) if rows else (1, 3, len(ROWS)):
        given = [torch.from_numpy(getattr(ROWS, name)[:count]) for name in names]
        with torch.no_grad():
            logits = program(*given).numpy()
        np.testing.assert_allclose(logits, predict(model, ROWS)[:count], atol=1e-5)
