"""Which variant of a bundle a board serves when it is told none: the fastest, by measuring.

Only variants take part that this board runs and whose cost in accuracy is on the card and
within the card's limit. All are loaded, then timed in turn, round by round, so that drift
of the machine hits all alike. A card without a limit leaves the choice to its own order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
from edgetran_devices import UnitModel, predict
from edgetran_protos.bundle import Variant
from edgetran_protos.errors import EdgeTranError

from edgetran_daemon.runtimes import RUNTIMES
from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.serving.served_model import golden_inputs
from edgetran_daemon.serving.worker_process import WorkerProcess
from edgetran_daemon.store.bundles import BundleStore, StoredBundle

ROUNDS = 5
RUNS = 3  # of each variant in a round, at least
BUDGET_S = 10.0  # of timing, all variants together; loading comes on top


@dataclass(frozen=True)
class Choice:
    """The variant to serve, and the figures that speak for it."""

    variant: Variant
    latencies_s: Mapping[str, float]  # one row, the median; empty: nothing had to be compared
    left_out: Mapping[str, str]  # variant -> why
    modelled: bool
    threads: int

    def __str__(self) -> str:
        """For a person; empty when there was nothing to choose."""
        if not self.latencies_s:
            return ""
        how = "modelled" if self.modelled else f"measured with {self.threads} threads"
        ranked = sorted(self.latencies_s.items(), key=lambda item: item[1])
        figures = ", ".join(f"{name} {1e3 * latency_s:.3g} ms" for name, latency_s in ranked)
        missing = "".join(f"; not {name}: {why}" for name, why in self.left_out.items())
        return f"fastest of {len(ranked)} {how}: {figures}{missing}"


async def choose(
    store: BundleStore, bundle: StoredBundle, name: str, threads: int, unit: Optional[UnitModel]
) -> Choice:
    """name: the variant that a client wants; empty: none. unit: the emulated board's, whose
    model decides then. Raises UnknownVariant.
    """
    if name:
        return Choice(bundle.variant(name), {}, {}, unit is not None, threads)
    candidates, left_out = _candidates(bundle, unit)
    if len(candidates) < 2:
        chosen = candidates[0] if candidates else bundle.variant("")
        return Choice(chosen, {}, left_out, unit is not None, threads)
    if unit is not None:
        latencies_s = {v.name: predict(unit, v.work).latency_s for v in candidates}
    else:
        latencies_s, failed = await _measured(store, bundle, candidates, threads)
        left_out = {**left_out, **failed}
    if not latencies_s:
        return Choice(bundle.variant(""), {}, left_out, False, threads)
    fastest = min(latencies_s, key=lambda name: latencies_s[name])
    return Choice(bundle.variant(fastest), latencies_s, left_out, unit is not None, threads)


def _candidates(
    bundle: StoredBundle, unit: Optional[UnitModel]
) -> tuple[list[Variant], dict[str, str]]:
    """The variants that may serve, and why the others may not."""
    limit = bundle.card.max_accuracy_cost
    if limit is None:
        return [], {}
    found, left_out = [], {}
    for variant in bundle.card.variants:
        reason = _unfit(bundle, variant, limit, unit)
        if reason:
            left_out[variant.name] = reason
        else:
            found.append(variant)
    return found, left_out


def _unfit(bundle: StoredBundle, variant: Variant, limit: float, unit: Optional[UnitModel]) -> str:
    """Why the variant may not serve; empty when it may."""
    if variant.runtime not in RUNTIMES:
        return f"no runtime {variant.runtime}"
    if unit is not None and variant.runtime not in unit.runtimes:
        return f"the emulated board has no {variant.runtime}"
    reason = bundle.pythons.status(variant.runtime).unavailable
    if reason:
        return reason
    if variant.accuracy_cost is None:
        return "its accuracy is not on the card"
    if not variant.accuracy_cost <= limit:  # not: NaN is unfit too
        return f"costs {variant.accuracy_cost:.3g} of accuracy, at most {limit:.3g} may be lost"
    return ""


@dataclass
class _Trial:
    """One variant while it is timed."""

    name: str
    worker: WorkerProcess
    inputs: dict[str, Tensor]
    samples_s: list[float] = field(default_factory=list)


async def _measured(
    store: BundleStore, bundle: StoredBundle, candidates: list[Variant], threads: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of one row by variant, and why some could not be timed; no process is left."""
    trials: list[_Trial] = []
    failed: dict[str, str] = {}
    try:
        for variant in candidates:
            try:
                trials.append(await _started(store, bundle, variant, threads))
            except EdgeTranError as exc:
                failed[variant.name] = str(exc)
        share_s = BUDGET_S / ((ROUNDS + 1) * max(1, len(trials)))
        for number in range(ROUNDS + 1):
            for trial in (trial for trial in trials if trial.name not in failed):
                try:
                    found = await trial.worker.time(
                        trial.inputs, runs=RUNS, min_s=0.0, max_s=share_s, max_runs=RUNS
                    )
                except EdgeTranError as exc:
                    failed[trial.name] = str(exc)
                    continue
                if number:  # the first round warms up
                    trial.samples_s.extend(found.samples_s.tolist())
    finally:
        for trial in trials:
            trial.worker.kill()
        await asyncio.gather(*(trial.worker.stop() for trial in trials))
    sound = [trial for trial in trials if trial.name not in failed]
    return {trial.name: float(np.median(trial.samples_s)) for trial in sound}, failed


async def _started(
    store: BundleStore, bundle: StoredBundle, variant: Variant, threads: int
) -> _Trial:
    golden = golden_inputs(bundle.card)
    worker, loaded = await WorkerProcess.start(
        variant.runtime, store.graph(variant), threads, pythons=store.pythons
    )
    taken = {spec.name: golden[spec.name][:1] for spec in loaded.inputs if spec.name in golden}
    return _Trial(variant.name, worker, taken)
