"""Latency, energy and peak power of a model on a board that is not here: a roofline.

Symbols, for one inference of b rows on one unit:

    t = t0 + k * tk + max(F b / Rf + Q b / Rq, (W + A b) / B)
    E = P t + e (F + Q) b

t0 overhead_s, k kernel launches, tk launch_s, F float and Q 8-bit operations a
row at Rf and Rq a second, W weight bytes (read once a batch), A activation bytes
a row, B bandwidth, P mean power while computing, e what an operation draws beyond it (zero
where only P is known). Embedding tables count nothing:
only the looked-up rows are read. After Williams, Waterman, Patterson, "Roofline"
(CACM 2009), with a term for launches, which rule small models.
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
        + max(_compute_s(unit, work, batch_size), _memory_s(unit, work, batch_size))
    )
    return Prediction(
        latency_s,
        _energy_j(unit, work, batch_size, latency_s),
        unit.peak_w,
        unit.relative_error,
        unit.energy_error,
        unit.peak_error,
    )


def _compute_s(unit: UnitModel, work: Work, batch_size: int) -> float:
    return batch_size * (work.matmul_flops / unit.fp32_flops + work.int8_ops / unit.int8_ops)


def _memory_s(unit: UnitModel, work: Work, batch_size: int) -> float:
    return (work.weight_bytes + batch_size * work.elementwise_bytes) / unit.bandwidth_bytes_s


def _energy_j(unit: UnitModel, work: Work, batch_size: int, latency_s: float) -> Optional[float]:
    """None: nobody measured what the unit draws."""
    if unit.active_w is None:
        return None
    operations = batch_size * (work.matmul_flops + work.int8_ops)
    return unit.active_w * latency_s + unit.operation_j * operations
