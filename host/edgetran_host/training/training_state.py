"""Where a training run stands, on disk, so that a killed run ends as an uninterrupted one.

One safetensors file: weights, Adam's moments, the best weights so far, the random
generator of each process, the step, and a fingerprint of what is being trained on what.
It is replaced whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from edgetran_host.training.device import set_random_state

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class TrainingState:
    """Keeps one run's file; `fingerprint` ties it to its data and recipe."""

    path: Path
    fingerprint: str

    def save(
        self,
        module: nn.Module,
        optimiser: torch.optim.AdamW,
        generators: Tensor,
        best: Mapping[str, Tensor],
        numbers: Mapping[str, Any],
    ) -> None:
        """generators (processes, bytes); `numbers` is whatever else JSON can hold."""
        names: dict[Tensor, str] = {p: name for name, p in module.named_parameters()}
        tensors = {f"model/{k}": v.contiguous() for k, v in module.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in best.items()}
        for parameter, moments in optimiser.state.items():
            for key in MOMENTS:
                tensors[f"adam/{key}/{names[parameter]}"] = moments[key].contiguous()
        tensors["generators"] = generators
        header = {"numbers": json.dumps(numbers), "fingerprint": self.fingerprint}
        write_whole(self.path, safetensors.torch.save(tensors, header))

    def restore(
        self, module: nn.Module, optimiser: torch.optim.AdamW, rank: int, device: torch.device
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The numbers and the best weights; both empty when nothing here is of this very run."""
        header, tensors = self._read()
        if not header:
            return {}, {}
        module.load_state_dict(_below(tensors, "model/"))
        moments = {key: _below(tensors, f"adam/{key}/") for key in MOMENTS}
        for name, parameter in module.named_parameters():
            if name in moments["step"]:
                optimiser.state[parameter] = {
                    key: moments[key][name].to(parameter.device) for key in MOMENTS
                }
        set_random_state(tensors["generators"][rank], device)
        numbers: dict[str, Any] = json.loads(header["numbers"])
        return numbers, _below(tensors, "best/")

    def _read(self) -> tuple[dict[str, str], dict[str, Tensor]]:
        """Header and tensors; nothing when the file is absent, damaged or foreign."""
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("fingerprint") != self.fingerprint:
                    return {}, {}
                names = file.keys()
                return header, {name: file.get_tensor(name) for name in names}
        except (FileNotFoundError, SafetensorError):
            return {}, {}

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """The file is old or new, never half. One writer a folder: a killed one's rest is reused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
