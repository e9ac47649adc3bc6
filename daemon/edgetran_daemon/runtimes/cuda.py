"""NVIDIA's driver by its own library: a GPU's memory and one stream, without any package.

JetPack's Python has no CUDA package, and libcuda.so.1 has kept its name and these calls from
CUDA 3 on (docs.nvidia.com/cuda/cuda-driver-api). Context: the device's primary one, which
TensorRT takes as well.
"""

import ctypes
from typing import Any, List, Tuple

from edgetran_daemon.runtimes.base import RuntimeFailure, Tensor

LIBRARY = "libcuda.so.1"
DEVICE = 0
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
OWN_STREAM = 1  # CU_STREAM_NON_BLOCKING: does not wait for the default stream
INT, UINT, SIZE, ADDRESS = ctypes.c_int, ctypes.c_uint, ctypes.c_size_t, ctypes.c_uint64
POINTER = ctypes.c_void_p
FUNCTIONS = {
    "cuInit": (UINT,),
    "cuDeviceGetCount": (POINTER,),
    "cuDeviceGet": (POINTER, INT),
    "cuDeviceGetAttribute": (POINTER, INT, INT),
    "cuDevicePrimaryCtxRetain": (POINTER, INT),
    "cuCtxSetCurrent": (POINTER,),
    "cuStreamCreate": (POINTER, UINT),
    "cuStreamSynchronize": (POINTER,),
    "cuMemAlloc_v2": (POINTER, SIZE),
    "cuMemcpyHtoDAsync_v2": (ADDRESS, POINTER, SIZE, POINTER),
    "cuMemcpyDtoHAsync_v2": (POINTER, ADDRESS, SIZE, POINTER),
    "cuGetErrorString": (INT, POINTER),
}


class Cuda:
    """The first GPU. Its memory goes with the process."""

    def __init__(self) -> None:
        """Raises RuntimeFailure, saying what is missing."""
        try:
            self._library: Any = ctypes.CDLL(LIBRARY)
        except OSError as exc:
            raise RuntimeFailure(f"there is no NVIDIA driver: {exc}") from exc
        for name, arguments in FUNCTIONS.items():
            getattr(self._library, name).argtypes = arguments
        self._call("cuInit", 0)
        count, device, context = INT(), INT(), POINTER()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if not count.value:
            raise RuntimeFailure("the NVIDIA driver finds no GPU")
        self._call("cuDeviceGet", ctypes.byref(device), DEVICE)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._device = device
        self._stream = POINTER()
        self._call("cuStreamCreate", ctypes.byref(self._stream), OWN_STREAM)

    @property
    def stream(self) -> int:
        return int(self._stream.value or 0)

    def capability(self) -> Tuple[int, int]:
        """5, 3 of a Jetson Nano."""
        found: List[int] = []
        for attribute in (MAJOR, MINOR):
            value = INT()
            self._call("cuDeviceGetAttribute", ctypes.byref(value), attribute, self._device)
            found.append(value.value)
        return found[0], found[1]

    def allocate(self, size_bytes: int) -> int:
        address = ADDRESS()
        self._call("cuMemAlloc_v2", ctypes.byref(address), size_bytes)
        return address.value

    def copy_in(self, address: int, array: Tensor) -> None:
        """array: C-contiguous; it may change once this returns, or `wait` has if it is pinned."""
        self._call("cuMemcpyHtoDAsync_v2", address, array.ctypes.data, array.nbytes, self._stream)

    def copy_out(self, array: Tensor, address: int) -> None:
        """array: C-contiguous, filled when `wait` returns."""
        self._call("cuMemcpyDtoHAsync_v2", array.ctypes.data, address, array.nbytes, self._stream)

    def wait(self) -> None:
        self._call("cuStreamSynchronize", self._stream)

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(text))
            reason = (text.value or b"unknown").decode(errors="replace")
            raise RuntimeFailure(f"CUDA: {name} failed: {reason} ({status})")
