"""What was asked for: everything that decides what a pre-training run learns.

It is written to the run's folder before anything else. The same request continues the
run; another one is refused by the names of what differs.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.job.run_directory import read_json, write_atomically
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.own_seed import PRETRAINING
from edgetran_host.space.architecture import Architecture

NORM_EPS = 1e-6  # the method's 1e-12 is lost in fp16
FREE = ("precision", "device", "compiled")  # may change between two sittings


@dataclass(frozen=True)
class Request:
    """Exactly one of steps, tokens and seconds is above zero."""

    architecture: Architecture
    sources: tuple[str, ...]
    steps: int = 0
    tokens: int = 0  # read in all, repetitions included
    seconds: float = 0.0  # of training, sittings added up
    tokenizer: str | None = None  # a tokenizer.json or its folder; None: trained on the text
    vocabulary: int = 8192
    positions: str = "relative"
    sequence_length: int = 128
    batch_size: int = 256  # rows a step, over all processes
    accumulation: int = 1  # parts that a process computes its rows in
    learning_rate: float = 1e-3
    warmup_fraction: float = 0.06
    weight_decay: float = 0.01
    dropout: float = 0.1
    random_seed: int = 0
    precision: str = "auto"
    device: str = "auto"
    compiled: bool = False

    def __post_init__(self) -> None:
        if sum(each > 0 for each in (self.steps, self.tokens, self.seconds)) != 1:
            raise UsageError(
                "how long to train is not clear", hint="give one of --steps, --tokens and --for"
            )
        if not self.sources:
            raise UsageError("there is no text to learn from", hint="give --text FILE or FOLDER")
        if self.batch_size % self.accumulation:
            raise UsageError(
                f"{self.batch_size} rows do not fall into {self.accumulation} equal parts",
                hint="choose a --batch-size that --accumulate divides",
            )

    @property
    def step_tokens(self) -> int:
        """Read in a step, the frame of every row included."""
        return self.batch_size * self.sequence_length

    @property
    def planned_steps(self) -> int | None:
        """None: the clock decides."""
        if self.seconds:
            return None
        return self.steps or max(1, -(-self.tokens // self.step_tokens))

    def model_config(self, vocab_size: int, pad_id: int) -> ModelConfig:
        return ModelConfig(
            architecture=self.architecture,
            vocab_size=vocab_size,
            positions=self.positions,
            max_positions=self.sequence_length,
            type_vocab_size=1,
            pad_id=pad_id,
            layer_norm_eps=NORM_EPS,
            dropout=self.dropout,
            pooling="mean",
            outputs=1,
            sequence_length=self.sequence_length,
        )

    def to_json(self) -> dict[str, Any]:
        plain = dataclasses.asdict(self)
        return {**plain, "architecture": self.architecture.to_dict(), "sources": list(self.sources)}

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Request:
        shape = Architecture.from_dict(raw["architecture"])
        return Request(**{**raw, "architecture": shape, "sources": tuple(raw["sources"])})


def settle(request: Request, folder: Path) -> None:
    """Writes the request, or checks that the folder was begun with it. Raises UsageError."""
    file = folder / PRETRAINING
    folder.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        if any(each.name != ".lock" for each in folder.iterdir()):
            raise UsageError(
                f"{folder} holds other things already", hint="give --out a new or empty folder"
            )
        write_atomically(file, json.dumps(request.to_json(), indent=1).encode())
        return
    begun, asked = read_json(file), request.to_json()
    changed = [key for key in asked if key not in FREE and begun.get(key) != asked[key]]
    if changed:
        raise UsageError(
            f"{folder} was begun with other {', '.join(changed)}",
            hint="repeat its command to continue it, or give another --out",
        )
    write_atomically(file, json.dumps(asked, indent=1).encode())


def read_request(folder: Path) -> Request:
    """Raises UsageError when nothing was begun there."""
    try:
        return Request.from_json(read_json(folder / PRETRAINING))
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} holds no pre-training", hint="start with `edgetran pretrain`"
        ) from error
