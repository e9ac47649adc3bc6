"""Every parser of what comes from elsewhere: valid texts with one thing changed, and garbage.

A parser gives a value or an error of ours; anything else is a finding.
"""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest
from edgetran_daemon.deployment.ledger import Ledger, Record, Slot, Trial
from edgetran_daemon.security.trust import Client, Trust
from edgetran_daemon.serving.text import TextCodec
from edgetran_daemon.settings.configuration import read_file, written
from edgetran_daemon.store.self_contained import check_self_contained
from edgetran_devices.catalogue import load_board
from edgetran_protos.bundle import Bundle, BundleCard, parse_oci_manifest
from edgetran_protos.errors import EdgeTranError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

DEEP = "[" * 100_000
ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        2**63,
        2**200,
        1e308,
        float("inf"),
        float("nan"),
        "",
        "../../x",
        [],
        {},
        [[]],
    ]
)
ANYTHING = st.recursive(
    ODD | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
bounded = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a JSON value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [at] + [place for key, part in inner for place in places(part, (*at, key))]


@st.composite
def changed(draw: st.DrawFn, valid: Any) -> bytes:
    """The value with one part of it replaced, left out, or repeated under another name."""
    value = copy.deepcopy(valid)
    place = draw(st.sampled_from([p for p in places(valid) if p]))
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    if draw(st.booleans()):
        holder[place[-1]] = draw(ANYTHING)
    elif isinstance(holder, dict) and draw(st.booleans()):
        holder["surplus"] = holder[place[-1]]
    else:
        del holder[place[-1]]
    return json.dumps(value).encode()


def takes(parse: Callable[[bytes], object], data: bytes) -> None:
    with suppress(EdgeTranError):
        parse(data)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "tiny.tar", p99_s=0.1)
    return made


def exercise(parse: Callable[[bytes], object], valid: Any) -> None:
    @bounded
    @given(changed(valid) | st.binary(max_size=40))
    def run(data: bytes) -> None:
        takes(parse, data)

    parse(json.dumps(valid).encode())
    run()
    for odd in (
        b"",
        b"\xff",
        b"null",
        b"[]",
        DEEP.encode(),
        b'{"schema": ' + DEEP.encode(),
        b"1" * 5000,
    ):
        takes(parse, odd)


def test_cards(bundle: Bundle) -> None:
    tokenizer = bundle.read(bundle.card.tokenizer_digest)

    def use(data: bytes) -> None:
        """What passes must also be fit for use."""
        card = BundleCard.from_json(data)
        assert BundleCard.from_json(card.to_json()) == card
        TextCodec(card, tokenizer)

    exercise(use, asdict(bundle.card))


def test_manifests(bundle: Bundle) -> None:
    exercise(parse_oci_manifest, json.loads(bundle.manifest))


def test_indexes_of_a_bundle(bundle: Bundle, tmp_path: Path) -> None:
    with tarfile.open(bundle.path) as tar:
        tar.extractall(tmp_path, filter="data")
    index = tmp_path / "index.json"
    valid = json.loads(index.read_bytes())

    def parse(data: bytes) -> None:
        index.write_bytes(data)
        Bundle.open(tmp_path)

    exercise(parse, valid)


def test_tars_with_any_byte_changed(bundle: Bundle, tmp_path: Path) -> None:
    whole = bundle.path.read_bytes()
    path = tmp_path / "changed.tar"

    @bounded
    @given(st.integers(0, len(whole) - 1), st.binary(min_size=1, max_size=20), st.booleans())
    def run(at: int, data: bytes, cut: bool) -> None:
        path.write_bytes(whole[:at] + data + (b"" if cut else whole[at + len(data) :]))
        takes(lambda _: Bundle.open(path), b"")

    run()


def test_ledgers(tmp_path: Path) -> None:
    path = tmp_path / "deployments.json"
    slot = Slot("sha256:" + "0" * 64, "v", 1.0, 2, "classification")
    ledger = Ledger(path)
    ledger.switch("m", slot, Trial(3, 0.1))
    ledger.commit("m", "well", 2.0)
    ledger.switch("m", Slot("sha256:" + "1" * 64, "v", 1.0, 2, "classification"), Trial())
    ledger.add(Record.failed("m", "d", "v", "no", 1.0))
    valid = json.loads(path.read_bytes())

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        Ledger(path).records(history=True)

    exercise(parse, valid)


def test_trust(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    valid = {"schema": 1, "clients": {"00": asdict(Client("alice", "deploy", 1.0))}}

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        assert all(
            client.role in {"infer", "deploy"} for client in Trust(tmp_path).clients().values()
        )

    exercise(parse, valid)


def test_settings(tmp_path: Path) -> None:
    path = tmp_path / "daemon.toml"
    whole = "\n".join(line.removeprefix("# ") for line in written({}).splitlines() if " = " in line)

    @bounded
    @given(st.integers(0, len(whole)), st.text(max_size=8), st.integers(0, 8))
    def run(at: int, text: str, cut: int) -> None:
        path.write_text(whole[:at] + text + whole[at + cut :], encoding="utf-8", errors="replace")
        takes(lambda _: read_file(path), b"")

    run()


def test_a_home_that_nobody_has_is_no_path(tmp_path: Path) -> None:
    """Found by the test above: it left as a RuntimeError."""
    path = tmp_path / "daemon.toml"
    path.write_text('state = "~nobody-of-this-name/x"')
    with pytest.raises(EdgeTranError, match="state is"):
        read_file(path)


def constant(outside: bool) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    if outside:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../deployments.json")
    else:
        tensor.float_data.append(1.0)
    return tensor


def hidden(where: str, outside: bool) -> bytes:
    """A graph with one constant, at a place that a graph can have one."""
    tensor = constant(outside)
    inner = helper.make_graph([], "inner", [], [], [tensor])
    nodes, initializers = [], []
    if where == "initializer":
        initializers = [tensor]
    elif where == "attribute":
        nodes = [helper.make_node("Constant", [], ["w"], value=tensor)]
    elif where == "list of tensors":
        nodes = [helper.make_node("Odd", [], ["w"], values=[tensor])]
    else:
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inner)]
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], initializers))
    if where == "function":
        model.graph.ClearField("node")
        odd = helper.make_node("Constant", [], ["w"], value=tensor)
        function = helper.make_function("d", "f", [], [], [odd], [])
        model.functions.append(function)
    if where == "sparse":
        model.graph.ClearField("node")
        sparse = model.graph.sparse_initializer.add()
        sparse.values.CopyFrom(tensor)
    return bytes(model.SerializeToString())


PLACES = ["initializer", "attribute", "list of tensors", "branch", "function", "sparse"]


@pytest.mark.parametrize("where", PLACES)
def test_weights_outside_the_graph_are_found_wherever_they_hide(tmp_path: Path, where: str) -> None:
    path = tmp_path / "graph"
    path.write_bytes(hidden(where, outside=False))
    check_self_contained(path)
    path.write_bytes(hidden(where, outside=True))
    with pytest.raises(EdgeTranError, match="other files") as caught:
        check_self_contained(path)
    assert caught.value.hint


def test_graphs_with_any_byte_changed(tmp_path: Path, tiny: ModuleType) -> None:
    path = tmp_path / "graph"
    whole = tiny.graph()

    @bounded
    @given(st.integers(0, len(whole) - 1), st.binary(min_size=1, max_size=8), st.booleans())
    def run(at: int, data: bytes, cut: bool) -> None:
        path.write_bytes(whole[:at] + data + (b"" if cut else whole[at + len(data) :]))
        takes(lambda _: check_self_contained(path), b"")

    run()


def hostile_tar(path: Path, member: tarfile.TarInfo, data: bytes = b"") -> None:
    with tarfile.open(path, "w") as tar:
        tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_tar_that_points_out_of_itself_is_no_bundle(
    tmp_path: Path, kind: bytes, target: str
) -> None:
    member = tarfile.TarInfo("index.json")
    member.type, member.linkname = kind, target
    hostile_tar(tmp_path / "x.tar", member)
    with pytest.raises(EdgeTranError):
        Bundle.open(tmp_path / "x.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_a_tar_that_unfolds_is_not_read(tmp_path: Path) -> None:
    """A sparse member of a terabyte in a file of a few kilobytes."""
    member = tarfile.TarInfo("index.json")
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(1 << 40),
        "GNU.sparse.map": "0,1",
    }
    hostile_tar(tmp_path / "x.tar", member, b"")
    with pytest.raises(EdgeTranError, match="larger than the file"):
        Bundle.open(tmp_path / "x.tar")


def test_every_board_of_the_catalogue_is_plain_data() -> None:
    """The catalogue ships with the package: nobody else's bytes reach that parser."""
    boards = resources.files("edgetran_devices") / "boards"
    for entry in boards.iterdir():
        if entry.name.endswith(".toml"):
            load_board(entry.name.removesuffix(".toml"))
