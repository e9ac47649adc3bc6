"""What every runtime promises, run by each one that edgetran knows, on a real graph."""

from __future__ import annotations

import importlib.util
import sys
import tarfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from edgetran_daemon.runtimes import RUNTIMES, runtime_class
from edgetran_daemon.runtimes.base import InputRefused, Runtime, RuntimeFailure, Tensor
from onnx import TensorProto, helper, numpy_helper

Tokens = dict[str, Tensor]


def write_onnx(tiny: ModuleType, path: Path) -> None:
    path.write_bytes(tiny.graph())


def write_openvino(tiny: ModuleType, path: Path) -> None:
    source = path.with_name("source.onnx")
    source.write_bytes(tiny.graph())
    convert_openvino(source, path)


def convert_openvino(source: Path, path: Path) -> None:
    """The tar is made here, by hand: the runtime is held to its format, not to our exporter."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # tells nobody
    openvino = pytest.importorskip("openvino")
    xml = path.with_name("model.xml")
    openvino.save_model(openvino.Core().read_model(source), xml, compress_to_fp16=False)
    with tarfile.open(path, "w") as archive:
        archive.add(xml, "model.xml")
        archive.add(xml.with_suffix(".bin"), "model.bin")


def write_litert(tiny: ModuleType, path: Path) -> None:
    """Written with the schema of the graph's format; the converter is in nobody's way."""
    pytest.importorskip("ai_edge_litert")
    place = Path(__file__).parents[1] / "daemon" / "tiny_litert.py"
    spec = importlib.util.spec_from_file_location("tiny_litert", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path.write_bytes(module.graph(tiny))


WIDTH, LAYERS = 256, 100  # 100 ms for 512 rows, or more


def long_graph() -> bytes:
    """x (rows, WIDTH) -> y, through many operations one after the other."""
    names = ["x", *(f"x{number}" for number in range(1, LAYERS)), "y"]
    nodes = [
        node
        for before, after in zip(names, names[1:])
        for node in (
            helper.make_node("MatMul", [before, "w"], [f"{after}-product"]),
            helper.make_node("Tanh", [f"{after}-product"], [after]),
        )
    ]
    weights = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32) / 16
    built = helper.make_graph(
        nodes,
        "long",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", WIDTH])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


FORMS = {  # runtime -> how a graph is written
    "onnxruntime": write_onnx,
    "openvino": write_openvino,
    "litert": write_litert,
    "tensorrt": write_onnx,
    "myriad": write_onnx,
}


class RuntimeContract:
    """A runtime passes with the fixtures `kind` (its class) and `graph` (tiny_bundle's model)."""

    @pytest.fixture
    def kind(self) -> type[Runtime]:
        raise NotImplementedError

    @pytest.fixture
    def graph(self, kind: type[Runtime], tmp_path: Path, tiny: ModuleType) -> Path:
        path = tmp_path / "graph"
        FORMS[kind.name](tiny, path)
        return path

    @pytest.fixture
    def runtime(self, kind: type[Runtime], graph: Path) -> Runtime:
        return kind(str(graph), threads=1)

    @pytest.fixture
    def tokens(self, tiny: ModuleType) -> Tokens:
        found: Tokens = tiny.encode(tiny.TEXTS)
        return found

    def test_it_says_which_version_it_is(self, kind: type[Runtime]) -> None:
        assert kind.version()

    def test_it_describes_the_graph(self, runtime: Runtime, tiny: ModuleType) -> None:
        inputs = {spec.name: (spec.dtype, spec.shape) for spec in runtime.inputs}
        names = ("input_ids", "attention_mask", "token_type_ids")
        assert inputs == dict.fromkeys(names, ("int64", (None, tiny.LENGTH)))
        (output,) = runtime.outputs
        assert (output.name, output.dtype) == ("logits", "float32")
        assert output.shape == (None, len(tiny.LABELS))

    @pytest.mark.parametrize("threads", [1, 2])
    def test_it_computes_what_the_graph_says(
        self, kind: type[Runtime], graph: Path, tokens: Tokens, tiny: ModuleType, threads: int
    ) -> None:
        outputs = kind(str(graph), threads).run(tokens)
        assert set(outputs) == {"logits"}
        assert outputs["logits"].dtype == np.float32
        np.testing.assert_allclose(outputs["logits"], tiny.reference(tokens), atol=1e-5)

    def test_a_row_does_not_depend_on_its_neighbours(
        self, runtime: Runtime, tokens: Tokens
    ) -> None:
        together = runtime.run(tokens)["logits"]
        for row in range(len(together)):
            alone = runtime.run({name: t[row : row + 1] for name, t in tokens.items()})["logits"]
            np.testing.assert_allclose(alone[0], together[row], atol=1e-6)

    def test_a_result_is_the_callers_to_keep(self, runtime: Runtime, tokens: Tokens) -> None:
        first = runtime.run(tokens)["logits"]
        kept = first.copy()
        runtime.run({name: tensor[::-1] for name, tensor in tokens.items()})
        np.testing.assert_array_equal(first, kept)

    def test_an_interruption_concerns_one_run_at_most(
        self, runtime: Runtime, tokens: Tokens
    ) -> None:
        expected = runtime.run(tokens)["logits"]
        for _ in range(3):
            runtime.interrupt()  # comes too late: nothing runs
            runtime.rearm()
            np.testing.assert_array_equal(runtime.run(tokens)["logits"], expected)

    @pytest.mark.parametrize(
        "form",
        [
            lambda tensor: np.frombuffer(tensor.tobytes(), tensor.dtype).reshape(tensor.shape),
            lambda tensor: np.asfortranarray(tensor),
            lambda tensor: np.repeat(tensor, 2, axis=1)[:, ::2],
        ],
        ids=["read-only", "column-major", "strided"],
    )
    def test_any_layout_in_memory_will_do(
        self, runtime: Runtime, tokens: Tokens, form: Callable[[Tensor], Tensor]
    ) -> None:
        given = {name: form(tensor) for name, tensor in tokens.items()}
        before = {name: tensor.copy() for name, tensor in given.items()}
        found = runtime.run(given)["logits"]
        np.testing.assert_array_equal(found, runtime.run(tokens)["logits"])
        for name, tensor in given.items():
            np.testing.assert_array_equal(tensor, before[name])

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda tokens: tokens.pop("input_ids"),
            lambda tokens: tokens.update(more=tokens["input_ids"]),
            lambda tokens: tokens.update(input_ids=tokens["input_ids"].astype(np.int32)),
            lambda tokens: tokens.update(input_ids=tokens["input_ids"].astype(np.float32)),
            lambda tokens: tokens.update(input_ids=tokens["input_ids"][:, :-1]),
            lambda tokens: tokens.update(input_ids=tokens["input_ids"][0]),
            lambda tokens: tokens.update(input_ids=tokens["input_ids"][:1]),
            lambda tokens: tokens.update({name: t[:0] for name, t in tokens.items()}),
            lambda tokens: tokens.update(input_ids=np.full_like(tokens["input_ids"], 10_000)),
        ],
        ids=[
            "missing",
            "unknown",
            "int32",
            "float",
            "short",
            "one-dimension",
            "rows-differ",
            "no-rows",
            "beyond-the-vocabulary",
        ],
    )
    def test_tensors_that_do_not_fit_are_the_callers_mistake(
        self, runtime: Runtime, tokens: Tokens, spoil: Callable[[Tokens], object]
    ) -> None:
        spoilt = dict(tokens)
        spoil(spoilt)
        with pytest.raises(InputRefused):
            runtime.run(spoilt)
        assert runtime.run(tokens)["logits"].shape == (len(tokens["input_ids"]), 3)

    @pytest.mark.parametrize("kept", [slice(0, 0), slice(0, 400), slice(100, None)])
    def test_a_graph_that_is_none_fails_to_load(
        self, kind: type[Runtime], graph: Path, kept: slice
    ) -> None:
        graph.write_bytes(graph.read_bytes()[kept])
        with pytest.raises(RuntimeFailure):
            kind(str(graph), threads=1)

    def test_a_graph_that_is_absent_fails_to_load(
        self, kind: type[Runtime], tmp_path: Path
    ) -> None:
        with pytest.raises(RuntimeFailure):
            kind(str(tmp_path / "absent"), threads=1)


class TestEveryRuntime(RuntimeContract):
    @pytest.fixture(params=RUNTIMES)
    def kind(self, request: pytest.FixtureRequest) -> type[Runtime]:
        found = runtime_class(request.param)
        reason = found.unavailable()
        if reason:
            pytest.skip(reason)
        assert found.name == request.param
        return found


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_long_run_can_be_interrupted(tmp_path: Path, name: str) -> None:
    kind = runtime_class(name)
    if kind.unavailable():
        pytest.skip(kind.unavailable())
    source = tmp_path / "long.onnx"
    source.write_bytes(long_graph())
    graph = tmp_path / "graph"
    if name == "openvino":
        convert_openvino(source, graph)
    else:
        source.rename(graph)
    runtime = kind(str(graph), 1)
    rows = {"x": np.ones((512, WIDTH), np.float32)}
    expected = runtime.run(rows)["y"]
    ended = threading.Event()

    def interrupt() -> None:
        while not ended.wait(0.001):
            runtime.interrupt()

    other = threading.Thread(target=interrupt)
    other.start()
    try:
        with pytest.raises(RuntimeFailure):
            runtime.run(rows)
    finally:
        ended.set()
        other.join()
    runtime.rearm()
    np.testing.assert_array_equal(runtime.run(rows)["y"], expected)


@pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.GNUTYPE_SPARSE])
def test_an_openvino_graph_is_made_of_plain_files(
    tmp_path: Path, tiny: ModuleType, type_: bytes
) -> None:
    kind = runtime_class("openvino")
    if reason := kind.unavailable():
        pytest.skip(reason)
    graph, spoilt = tmp_path / "graph", tmp_path / "spoilt"
    write_openvino(tiny, graph)
    with tarfile.open(graph) as source, tarfile.open(spoilt, "w") as target:
        for member in source:
            if member.name == "model.bin":
                member.type, member.linkname, member.size = type_, "model.xml", 0
            target.addfile(member, source.extractfile(member) if member.size else None)
    with pytest.raises(RuntimeFailure, match="plain files"):
        kind(str(spoilt), threads=1)


def test_an_unknown_runtime_is_refused_with_the_known() -> None:
    with pytest.raises(RuntimeFailure, match="onnxruntime"):
        runtime_class("abacus")


def test_the_runtimes_of_the_table_can_be_imported_and_say_whether_they_work() -> None:
    reasons: Sequence[str] = [runtime_class(name).unavailable() for name in RUNTIMES]
    assert "" in reasons, "no runtime works here: the tests of this file prove nothing"
