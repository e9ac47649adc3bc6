"""Regions of real shared memory: what they hold, whose they are, and what is left of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest
from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.security.callers import Caller
from edgetran_daemon.services import convert_tensors
from edgetran_daemon.services.shared_tensors import SharedTensors
from edgetran_daemon.serving.shared_memory import (
    FOLDER,
    MOST_REGIONS,
    Place,
    Region,
    Regions,
    unavailable,
)
from edgetran_protos.errors import (
    BoardBusy,
    EdgeTranError,
    InputError,
    NotPermitted,
    RegionTaken,
    UnknownRegion,
    UsageError,
)
from edgetran_protos.open_inference import message
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable())
OWN = Caller(os.geteuid())
ANOTHER = Caller(os.geteuid() + 1)
SIZE_BYTES = 8192


@pytest.fixture(scope="module")
def memory() -> Iterator[SharedMemory]:
    made = SharedMemory(create=True, size=SIZE_BYTES)
    yield made
    made.close()
    made.unlink()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a test may put what is not quite shared memory; its name as an object's."""
    found = FOLDER / f"edgetran-test-{os.getpid()}"
    yield found
    if found.is_dir():
        found.rmdir()
    elif found.is_symlink() or found.exists():
        found.unlink()


def registered(memory: SharedMemory, offset: int = 0, size_bytes: int = SIZE_BYTES) -> Regions:
    regions = Regions()
    regions.register(OWN, Region("mine", f"/{memory.name}", offset, size_bytes))
    return regions


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


whole = st.integers(0, SIZE_BYTES + 10)


@given(st.tuples(whole, whole), st.tuples(whole, whole), st.binary(min_size=1))
def test_a_place_is_a_slice_of_the_region_or_refused(
    memory: SharedMemory, part: tuple[int, int], place: tuple[int, int], data: bytes
) -> None:
    memory.buf[:SIZE_BYTES] = contents = np.random.default_rng(0).bytes(SIZE_BYTES)
    offset, size = part
    if offset + size > SIZE_BYTES or not size:
        with pytest.raises(EdgeTranError):
            registered(memory, offset, size)
        return
    regions = registered(memory, offset, size)
    at = Place("mine", place[0], place[1])
    if sum(place) > size:
        for use in (regions.check, regions.read):
            with pytest.raises(InputError, match="do not lie"):
                use(OWN, at)
        return
    assert regions.read(OWN, at) == contents[offset:][:size][place[0] :][: place[1]]
    data = data[: place[1]]
    regions.write(OWN, at, data)
    start = offset + place[0]
    assert memory.buf.tobytes() == contents[:start] + data + contents[start + len(data) :]


@pytest.mark.parametrize(
    ("key", "size_bytes"),
    [
        *((key, 8) for key in ("", "/", ".", "/..", "a/b", "//a", "/../etc/passwd", "a\0b")),
        ("x" * 256, 8),
        ("/ok", 0),
    ],
)
def test_what_is_no_shared_memory(key: str, size_bytes: int) -> None:
    with pytest.raises(UsageError) as caught:
        Regions().register(OWN, Region("mine", key, 0, size_bytes))
    assert not isinstance(caught.value, UnknownRegion)  # it was not even looked for


def test_a_region_that_was_cut_short_or_is_gone_is_refused_at_its_next_use(path: Path) -> None:
    """And by no signal: whoever maps such a file dies of SIGBUS."""
    path.write_bytes(b"x" * 100)
    regions, place = Regions(), Place("mine", 10, 50)
    regions.register(OWN, Region("mine", path.name, 0, 100))
    assert regions.read(OWN, place) == b"x" * 50
    os.truncate(path, 20)
    for use in (lambda: regions.read(OWN, place), lambda: regions.write(OWN, place, b"y" * 50)):
        with pytest.raises(InputError, match="has 20 bytes"):
            use()
    assert path.read_bytes() == b"x" * 20
    path.unlink()
    with pytest.raises(UnknownRegion, match="no shared memory") as caught:
        regions.read(OWN, place)
    assert caught.value.hint


def link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [link, fifo, folder])
def test_links_pipes_and_folders_are_no_objects(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    before = open_files()
    with pytest.raises((UsageError, InputError)):
        Regions().register(OWN, Region("mine", path.name, 0, 1))
    assert open_files() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o640, 0o604])
def test_another_users_memory_is_refused_even_to_a_daemon_that_could_open_it(
    path: Path, mode: int
) -> None:
    path.write_bytes(b"secret")
    os.chown(path, os.geteuid() + 7, os.getegid())
    path.chmod(mode)
    region = Region("mine", path.name, 0, 6)
    with pytest.raises(NotPermitted) as caught:
        Regions().register(OWN, region)
    assert caught.value.hint
    regions = Regions()
    owner = Caller(os.geteuid() + 7)
    regions.register(owner, region)
    os.chown(path, os.geteuid(), os.getegid())  # the name may lead elsewhere by then
    with pytest.raises(NotPermitted):
        regions.read(owner, Place("mine", 0, 6))


def test_users_do_not_see_each_others_regions(memory: SharedMemory) -> None:
    regions = registered(memory)
    assert regions.of(ANOTHER) == []
    for use in (regions.read, regions.check):
        with pytest.raises(UnknownRegion):
            use(ANOTHER, Place("mine", 0, 1))
    with pytest.raises(UnknownRegion):
        regions.of(ANOTHER, "mine")
    regions.unregister(ANOTHER, "mine")
    regions.unregister(ANOTHER, "")
    assert [one.name for one in regions.of(OWN, "mine")] == ["mine"]


def test_regions_are_few_and_leave_nothing_open(memory: SharedMemory) -> None:
    before, regions = open_files(), Regions()
    for number in range(MOST_REGIONS):
        regions.register(OWN, Region(str(number), memory.name, 0, 8))
    with pytest.raises(RegionTaken):
        regions.register(OWN, Region("3", memory.name, 0, 8))
    with pytest.raises(BoardBusy) as caught:
        regions.register(OWN, Region("more", memory.name, 0, 8))
    assert caught.value.hint
    regions.read(OWN, Place("3", 0, 8))
    assert open_files() == before
    regions.unregister(OWN, "3")
    regions.unregister(OWN, "3")
    regions.register(OWN, Region("more", memory.name, 0, 8))
    assert len(regions.of(OWN)) == MOST_REGIONS
    regions.unregister(OWN, "")
    assert regions.of(OWN) == []


def request(region: str, values: Tensor) -> tuple[bytes, object]:
    asked = message("ModelInferRequest")()
    kind = convert_tensors.datatype(values.dtype.str)
    tensor = asked.inputs.add(name="x", datatype=kind, shape=values.shape)
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = values.nbytes
    return values.tobytes(), asked


def test_a_request_takes_no_more_memory_than_a_message_may(memory: SharedMemory) -> None:
    regions = registered(memory)
    values = np.arange(10, dtype=np.int64)
    data, asked = request("mine", values)
    memory.buf[: len(data)] = data
    enough = SharedTensors(regions, len(data), lambda: OWN)
    np.testing.assert_array_equal(convert_tensors.infer_inputs(asked, enough)["x"], values)
    scarce = SharedTensors(regions, len(data) - 1, lambda: OWN)
    with pytest.raises(InputError, match="more than 79 bytes") as caught:
        convert_tensors.infer_inputs(asked, scarce)
    assert "--max-message-mb" in caught.value.hint


def test_answers_name_the_place_they_were_written_to(memory: SharedMemory) -> None:
    regions = registered(memory)
    _, asked = request("mine", np.zeros(1, np.int64))
    outputs = {"logits": np.array([[0.5, -1]], np.float32), "count": np.array([7], np.int64)}
    asked.outputs.add(name="count")
    place = asked.outputs.add(name="logits").parameters
    place["shared_memory_region"].string_param = "mine"
    place["shared_memory_byte_size"].int64_param = 100
    place["shared_memory_offset"].int64_param = 64
    shared = SharedTensors(regions, 100, lambda: OWN)
    found = convert_tensors.infer_response(asked, "m", "1", outputs, (), shared)
    assert list(found.raw_output_contents) == [outputs["count"].tobytes(), b""]
    told = found.outputs[1].parameters
    assert told["shared_memory_byte_size"].int64_param == 8
    assert told["shared_memory_offset"].int64_param == 64
    assert memory.buf[64:72].tobytes() == outputs["logits"].tobytes()
    place["shared_memory_byte_size"].int64_param = 7
    with pytest.raises(InputError, match="has 8 bytes, its place in shared memory 7"):
        convert_tensors.infer_response(asked, "m", "1", outputs, (), shared)


if sys.platform == "linux":

    def test_this_system_has_it() -> None:
        assert unavailable() == ""
