"""Latency, energy and peak power of a model on a board that is not here: a roofline.

Symbols, for one inference of b rows on one unit:

    t = t0 + k * tk + max(F b / Rf + Q b / Rq, (W + A b) / B)
    E = P t + e (F + Q) b

t0 overhead_s, k kernel launches, tk launch_s, F float and Q 8-bit operations a
row at Rf and Rq a second, W weight bytes (read once a batch), A activation bytes
a row, B bandwidth, P mean power while computing, e what an operation draws beyond
it (zero where only P is known). Embedding tables count nothing: only the looked-up
rows are read. After Williams, Waterman, Patterson, "Roofline" (CACM 2009), with a
term for launches, which rule small models. A unit that was measured adds up both
sides of the maximum (`adds_up`), since operators run one after the other, and has a
bandwidth of its own for activations, whose passes compute too (norms, softmax).
"""

from __future__ import annotations

from typing import Optional, Protocol

from edgetran_devices.catalogue import UnitModel
from edgetran_devices.prediction import Prediction


class Work(Protocol):
    """What one inference of one row costs; any object with these fields will do."""

    @property
    def matmul_flops(self) -> float: ...
    @property
    def int8_ops(self) -> float: ...
    @property
    def elementwise_bytes(self) -> float: ...
    @property
    def weight_bytes(self) -> float: ...
    @property
    def kernel_launches(self) -> int: ...


def predict(unit: UnitModel, work: Work, batch_size: int = 1) -> Prediction:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    latency_s = (
        unit.overhead_s
        + work.kernel_launches * unit.launch_s
        + _busy_s(unit, _compute_s(unit, work, batch_size), _memory_s(unit, work, batch_size))
    )
    return Prediction(
        latency_s,
        _energy_j(unit, work, batch_size, latency_s),
        unit.peak_w,
        unit.relative_error,
        unit.energy_error,
        unit.peak_error,
        in_ratio=bool(unit.measured),
    )


def _busy_s(unit: UnitModel, compute_s: float, memory_s: float) -> float:
    return compute_s + memory_s if unit.adds_up else max(compute_s, memory_s)


def _compute_s(unit: UnitModel, work: Work, batch_size: int) -> float:
    return batch_size * (work.matmul_flops / unit.fp32_flops + work.int8_ops / unit.int8_ops)


def _memory_s(unit: UnitModel, work: Work, batch_size: int) -> float:
    activations_s = unit.activation_bytes_s or unit.bandwidth_bytes_s
    return (
        work.weight_bytes / unit.bandwidth_bytes_s
        + batch_size * work.elementwise_bytes / activations_s
    )


def _energy_j(unit: UnitModel, work: Work, batch_size: int, latency_s: float) -> Optional[float]:
    """None: nobody measured what the unit draws."""
    if unit.active_w is None:
        return None
    operations = batch_size * (work.matmul_flops + work.int8_ops)
    return unit.active_w * latency_s + unit.operation_j * operations
