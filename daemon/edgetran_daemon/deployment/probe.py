"""The test a model passes before it serves: the bundle's golden rows, end to end."""

from __future__ import annotations

import numpy as np
from edgetran_protos.errors import EdgeTranError, ProbeFailed

from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.serving.served_model import LOGITS, ServedModel, golden_inputs
from edgetran_daemon.serving.text import CLASSIFICATION

REPACK = "export and pack the model again; the old model serves on"


async def probe(model: ServedModel) -> str:
    """What was checked, for a person. Raises ProbeFailed."""
    golden = model.card.golden
    if not golden.texts:
        raise ProbeFailed(f"bundle {model.card.name} has no golden rows", hint=REPACK)
    try:
        _check_tokens(model)
        ran = await model.try_out(model.own_inputs(golden_inputs(model.card)))
        error = _check_logits(model, ran.outputs)
    except ProbeFailed:
        raise
    except (EdgeTranError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ProbeFailed(f"the golden rows cannot be run: {exc}", hint=REPACK) from exc
    accepted = golden.accepted(model.variant.name)
    return f"{len(golden.texts)} golden rows within {error:.2g} (accepted: {accepted:.2g})"


def _check_tokens(model: ServedModel) -> None:
    encoded = model.encode([tuple(row) for row in model.card.golden.texts])
    for name, wanted in golden_inputs(model.card).items():
        if not np.array_equal(encoded[name], wanted):
            raise ProbeFailed(f"the tokenizer gives other {name} than the bundle's", hint=REPACK)


def _check_logits(model: ServedModel, outputs: dict[str, Tensor]) -> float:
    """The largest absolute difference. Raises ProbeFailed."""
    golden, name = model.card.golden, model.variant.name
    if LOGITS not in outputs:
        raise ProbeFailed(f"the graph has outputs {sorted(outputs)}, not {LOGITS!r}", hint=REPACK)
    found, wanted = outputs[LOGITS], np.array(golden.logits[name], np.float64)
    columns = len(model.card.labels) if model.card.task == CLASSIFICATION else 1
    if found.shape != wanted.shape or found.shape[-1] != columns:
        raise ProbeFailed(
            f"logits have shape {found.shape}, golden rows {wanted.shape}, outputs {columns}",
            hint=REPACK,
        )
    error = float(np.abs(found - wanted).max())
    accepted = golden.accepted(name)
    if not error <= accepted:  # not: NaN fails too
        raise ProbeFailed(
            f"logits differ from the bundle's by {error:.3g}, accepted are {accepted:.3g}",
            hint=REPACK,
        )
    return error
