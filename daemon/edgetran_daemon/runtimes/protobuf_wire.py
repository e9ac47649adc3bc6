"""Numbers and widths of protobuf's wire format, for walking an ONNX file without its messages."""

from typing import Tuple

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5  # wire types
WIDTHS = {FIXED_64: 8, FIXED_32: 4}  # bytes
MAX_SHIFT = 63


def varint(data: "memoryview[int]", at: int) -> Tuple[int, int]:
    """The number at `at`, and where the next one begins. Raises IndexError, ValueError."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > MAX_SHIFT:
            raise ValueError("a number without an end")
