"""What a node costs on the target, and what its exported graph scores on held-out rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

from edgetran_host.cosearch.real_boards import THIS_MACHINE
from edgetran_host.job.build import Built, artefact_bytes, build, graph_outputs
from edgetran_host.job.searching import Reference, cost_on_board
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.text_model import TextModel
from edgetran_host.refine.held_out import loss
from edgetran_host.refine.node import Node
from edgetran_host.search.objective import Cost, objective
from edgetran_host.tasks import score
from edgetran_host.training import Targets


class Judge:
    """Of one refinement; the board measures one node after the other."""

    def __init__(
        self,
        work: Workbench,
        reference: Reference,
        answers: Targets | None = None,
        quiet: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """reference: the fine-tuned seed. answers: its own of the held-out rows; None: labels.

        quiet: within, no training disturbs this machine.
        """
        self._work = work
        self._reference = reference
        self._answers = answers
        self._quiet = quiet

    def built(self, node: Node, model: TextModel, tokenizer: bytes, folder: Path) -> Built:
        return build(self._work, model, tokenizer, "node", (node.precision,), folder, node.runtime)

    def cost(self, built: Built) -> Cost:
        """Nothing of ours computes meanwhile where the board is this machine."""
        with self._quiet() if self._is_here else nullcontext():
            return cost_on_board(self._work, built.bundle, built.exported[0].variant.name)

    def scored(self, node: Node, tokenizer: bytes, built: Built) -> Node:
        """With the score and loss of its graph on held-out rows, and its value."""
        graph, rows = built.exported[0], self._work.split.valid
        size = float(artefact_bytes(built.bundle, graph.variant.name))
        cost = dataclasses.replace(node.cost, size_bytes=size)
        outputs = graph_outputs(self._work, graph, tokenizer, rows, f"  score {node.number}")
        found = score(self._work.valid_task, outputs).value
        labels = self._work.encode(rows, tokenizer).labels
        served_loss = loss(self._work.task, outputs, labels, self._answers)
        graph.path.unlink()
        built.bundle.path.unlink()
        reference, prefer = self._reference, self._work.config.prefer
        value = objective(found, reference.score, cost, reference.cost, prefer)
        return dataclasses.replace(
            node, cost=cost, score=found, served_loss=served_loss, value=value
        )

    def tokens_per_row(self, tokenizer: bytes) -> float:
        data = self._work.encode(self._work.split.valid, tokenizer)
        return float(data.attention_mask.sum(axis=1).mean())

    @cached_property
    def _is_here(self) -> bool:
        """The board is this machine."""
        here = self._work.config.target.startswith(THIS_MACHINE)
        return here and not self._work.board.describe().emulated
