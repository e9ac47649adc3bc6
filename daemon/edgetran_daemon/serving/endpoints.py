"""The names that the Open Inference Protocol knows: each model's tensors, and its texts.

`home` takes the graph's own tensors. `home:text` takes strings and answers with labels,
as an ensemble with a tokenizer in front would; a model's own name has no colon.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from edgetran_protos.errors import InputError

from edgetran_daemon.measuring.emulation import BoardClock
from edgetran_daemon.runtimes.base import Tensor, TensorSpec
from edgetran_daemon.serving.served_model import ServedModel, row_count
from edgetran_daemon.serving.text import CLASSIFICATION, Text

TEXT_SUFFIX = ":text"
TEXT, LABEL, SCORE, SCORES = "TEXT", "LABEL", "SCORE", "SCORES"
COLUMNS = (1, 2)  # a text, or a pair of texts


def model_of(name: str) -> str:
    return name[: -len(TEXT_SUFFIX)] if name.endswith(TEXT_SUFFIX) else name


@dataclass(frozen=True)
class Endpoint(abc.ABC):
    name: str
    model: ServedModel
    clock: BoardClock

    @property
    @abc.abstractmethod
    def inputs(self) -> Sequence[TensorSpec]: ...

    @property
    @abc.abstractmethod
    def outputs(self) -> Sequence[TensorSpec]: ...

    @property
    def labels(self) -> tuple[str, ...]:
        card = self.model.card
        return tuple(card.labels) if card.task == CLASSIFICATION else ()

    @abc.abstractmethod
    async def infer(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Raises InputError, BoardBusy, RuntimeFault."""


class TensorEndpoint(Endpoint):
    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return self.model.loaded.inputs

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return self.model.loaded.outputs

    async def infer(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        strings = [name for name, tensor in inputs.items() if tensor.dtype.hasobject]
        if strings:
            raise InputError(
                f"input {strings[0]!r} holds BYTES, but {self.name} takes numbers",
                hint=f"send strings as {TEXT} to the model {self.name}{TEXT_SUFFIX}",
            )
        ran = await self.model.infer(inputs)
        self.clock.charge(self.model.card, self.model.variant, row_count(inputs))
        return ran.outputs


class TextEndpoint(Endpoint):
    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return (TensorSpec(TEXT, "object", (None, None)),)

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        score = TensorSpec(SCORE, "float32", (None, 1))
        if not self.labels:
            return (score,)
        scores = TensorSpec(SCORES, "float32", (None, len(self.labels)))
        return (TensorSpec(LABEL, "object", (None, 1)), score, scores)

    async def infer(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        texts = _texts(inputs)
        predictions = (await self.model.predict(texts)).predictions
        self.clock.charge(self.model.card, self.model.variant, len(predictions))
        score = np.array([[one.score] for one in predictions], np.float32)
        if not self.labels:
            return {SCORE: score}
        labels = np.array([[one.label.encode()] for one in predictions], object)
        scores = [[one.scores[label] for label in self.labels] for one in predictions]
        return {LABEL: labels, SCORE: score, SCORES: np.array(scores, np.float32)}


def _texts(inputs: Mapping[str, Tensor]) -> list[Text]:
    """Of (rows,), (rows, 1), or (rows, 2) for pairs."""
    if set(inputs) != {TEXT}:
        raise InputError(
            f"a text model takes {TEXT} alone, not {sorted(inputs)}",
            hint="leave out :text for the graph's own tensors",
        )
    strings = inputs[TEXT]
    if strings.dtype != np.dtype(object):
        raise InputError(f"{TEXT} must be BYTES, got {strings.dtype}")
    rows = strings.reshape(-1, 1) if strings.ndim == 1 else strings
    if rows.ndim != 2 or rows.shape[1] not in COLUMNS:
        raise InputError(
            f"{TEXT} has shape {strings.shape}", hint="(rows, 1), or (rows, 2) for pairs of texts"
        )
    try:
        return [tuple(part.decode() for part in row) for row in rows]
    except UnicodeDecodeError as exc:
        raise InputError(f"{TEXT} is not UTF-8: {exc}") from exc
