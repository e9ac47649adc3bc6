"""Tensors for a model that is known by its metadata alone, and the answers' tensors as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from edgetran.conformance.outcome import Deviation, NotOffered, ask
from edgetran.convert import BYTES, DATATYPES, LENGTH, TYPED_FIELDS, Tensor, strings

WORDS = (b"a", b"good", b"day")


def made(specs: Sequence[Any], rows: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """One tensor an input. Zeros and ones where numbers are whole: any table of words has them.

    A free first dimension gets `rows`, every other free one 1.
    """
    found = {}
    for spec in specs:
        shape = [_size(size, place, rows) for place, size in enumerate(spec.shape)]
        found[spec.name] = _values(spec.datatype, shape, rng)
    return found


def _size(size: int, place: int, rows: int) -> int:
    return size if size >= 0 else (rows if place == 0 else 1)


def _values(datatype: str, shape: list[int], rng: np.random.Generator) -> Tensor:
    if datatype == BYTES:
        chosen = rng.integers(len(WORDS), size=shape)
        return np.array(WORDS, object)[chosen]
    if datatype not in DATATYPES:
        raise NotOffered(f"no values are known for inputs of datatype {datatype}")
    if datatype.startswith("FP"):
        return rng.random(shape).astype(DATATYPES[datatype])
    return rng.integers(2, size=shape).astype(DATATYPES[datatype])


def free_rows(specs: Sequence[Any]) -> bool:
    """Whether the first dimension of every tensor is the request's to choose."""
    return all(len(spec.shape) > 0 and spec.shape[0] == -1 for spec in specs)


def raw(values: Tensor, datatype: str) -> bytes:
    if datatype == BYTES:
        return b"".join(LENGTH.pack(len(one)) + one for one in values.ravel())
    return values.astype(DATATYPES[datatype]).tobytes()


def arrays(response: Any) -> dict[str, Tensor]:
    """A ModelInferResponse's outputs. Raises Deviation where sizes do not agree."""
    contents = list(response.raw_output_contents)
    ask(
        len(contents) in (0, len(response.outputs)),
        f"{len(response.outputs)} outputs came with {len(contents)} raw contents",
    )
    return {
        output.name: _array(output, contents[place] if contents else None)
        for place, output in enumerate(response.outputs)
    }


def _array(output: Any, data: Optional[bytes]) -> Tensor:
    ask(
        output.datatype in TYPED_FIELDS or output.datatype in DATATYPES,
        f"datatype {output.datatype!r}",
    )
    ask(all(size >= 0 for size in output.shape), f"{output.name} has shape {list(output.shape)}")
    if data is None:
        values: Any = list(getattr(output.contents, TYPED_FIELDS[output.datatype]))
    elif output.datatype == BYTES:
        values = _strings(output.name, data)
    else:
        kind = np.dtype(DATATYPES[output.datatype])
        ask(len(data) % kind.itemsize == 0, f"{output.name} has {len(data)} bytes")
        values = np.frombuffer(data, kind)
    count = int(np.prod(list(output.shape), dtype=np.int64))
    ask(
        len(values) == count,
        f"{output.name} has {len(values)} elements, its shape {list(output.shape)} needs {count}",
    )
    dtype = object if output.datatype == BYTES else DATATYPES[output.datatype]
    return np.array(values, dtype).reshape(tuple(output.shape))


def _strings(name: str, data: bytes) -> Tensor:
    try:
        return strings(data)
    except ValueError as exc:
        raise Deviation(f"{name}: {exc}") from exc


def close(found: Tensor, wanted: Tensor) -> bool:
    """Equal, but for what batching may change in floating-point sums."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if found.dtype.kind != "f":
        return bool(np.array_equal(found, wanted))
    return bool(np.allclose(found, wanted, rtol=1e-3, atol=1e-4, equal_nan=True))
