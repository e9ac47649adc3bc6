"""GPTran: grows and prunes the chosen model step by step, each measured on the target.

A round asks for edits of a node, makes each child by weight transfer, measures it on the board,
leaves out those that break a limit, trains the others a little, and trains the best of them on.
What was done is in the tree, so Ctrl-C or kill -9 cost at most the training under way, which
has a checkpoint of its own.
Source: the method's specification, section 8.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from edgetran.progress import Progress
from edgetran_protos.errors import DataError

from edgetran_host.job.build import artefact_bytes, build, score_graph
from edgetran_host.job.child import Child, Nursery, row_loss
from edgetran_host.job.config import Budget
from edgetran_host.job.searching import Reference, cost_on_board
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.refine.ablations import HARDWARE
from edgetran_host.refine.cycle import (
    PATIENCE,
    SHRINKING,
    Step,
    Worth,
    accuracy_of,
    best_node,
    next_step,
    value_of,
)
from edgetran_host.refine.importance import IMPORTANCES, Importance
from edgetran_host.refine.node import (
    DIVERGED,
    OVER,
    PROBED,
    ROOT,
    ROOT_MODE,
    TRAINED,
    Node,
    Round,
)
from edgetran_host.refine.proposals import Proposal, Sizes, propose
from edgetran_host.refine.ranking import winner
from edgetran_host.refine.tree import RefinementTree
from edgetran_host.search.objective import Cost, objective, within
from edgetran_host.training import Targets, predict
from edgetran_host.training.loop import forget
from edgetran_host.training.recipes import Recipe
from edgetran_host.transfer import Saliency, measure_share, transfer

AGAIN_EVERY = 3  # trained nodes, after which the last one is measured once more


@dataclass(frozen=True)
class Settings:
    """What a refinement may spend, and how it chooses."""

    rounds: int
    probe_rows: int  # that each child of a round learns from
    step_rows: int  # that the best of them learns from afterwards
    recipe: Recipe
    modes: tuple[str, ...] = SHRINKING
    patience: int = PATIENCE
    sizes: Sizes = field(default_factory=Sizes)
    importance: str = "saliency"  # one of IMPORTANCES
    without: tuple[str, ...] = ()  # of ablations.PARTS

    @property
    def by_cost(self) -> bool:
        """Costs decide which children are trained and compared by what."""
        return HARDWARE not in self.without


class Refinement:
    """Of one run, from the model that its search chose."""

    def __init__(
        self,
        work: Workbench,
        nursery: Nursery,
        targets: Targets | None,
        reference: Reference,
        budget: Budget,
        precision: str,
        root: Path,
        folder: Path,
        settings: Settings,
    ) -> None:
        """targets: None: labels alone teach. reference: the fine-tuned seed.

        root: folder of the model to begin with.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._work = work
        self._nursery = nursery
        self._targets = targets
        self._reference = reference
        self._budget = budget
        self._precision = precision
        self._settings = settings
        self._importance: Importance = IMPORTANCES[settings.importance]
        self.tree = RefinementTree(folder)
        if ROOT not in self.tree.nodes:
            self._plant(root)

    def run(self) -> Node:
        """The best node, which may be the root."""
        total, worth = self._settings.rounds, self._worth
        while len(self.tree.rounds) < total:
            self._report()
            step = next_step(
                self.tree.nodes,
                self.tree.rounds,
                self._settings.modes,
                self._settings.patience,
                worth,
            )
            if step is None:
                break
            self._round(step)
        self._work.on_progress(Progress("refine", total, total, self._said()))
        return self._best()

    def model(self, number: int) -> tuple[TextModel, bytes]:
        """A trained node's weights and tokenizer."""
        return load_model(self.tree.node_folder(number) / self.tree.nodes[number].state)

    def _plant(self, root: Path) -> None:
        model, tokenizer = load_model(root)
        folder = self.tree.node_folder(ROOT)
        cost = self._cost(model, tokenizer, folder)
        save_model(model, folder / TRAINED, tokenizer)
        found = Node(
            number=ROOT,
            parent=None,
            mode=ROOT_MODE,
            what="the chosen model",
            architecture=model.config.architecture,
            weights=None,
            state=TRAINED,
            cost=cost,
            parameters=_parameters(model),
            loss=self._loss(model, tokenizer),
        )
        self.tree.put(self._scored(found, model, tokenizer))

    def _round(self, step: Step) -> None:
        parent = self.tree.nodes[step.parent]
        model, tokenizer = self.model(parent.number)
        scores = self._importance(
            model, lambda: self._saliency(model, tokenizer), len(self.tree.rounds)
        )
        rng = np.random.default_rng([self._work.config.random_seed, len(self.tree.rounds)])
        proposals = propose(step.mode, parent.architecture, scores, self._settings.sizes, rng)
        done = {node.what: node for node in self.tree.under_way()}
        children = []
        for at, proposal in enumerate(proposals, 1):
            self._report(f"{step.mode}, child {at} of {len(proposals)}")
            known = done.get(proposal.what)
            children.append(known or self._child(parent, model, tokenizer, proposal))
        best = winner(parent, children, by_cost=self._settings.by_cost)
        if best is not None:
            best = self._trained_on(best)
        for child in children:
            if best is None or child.number != best.number:
                shutil.rmtree(self.tree.node_folder(child.number), ignore_errors=True)
        numbers = tuple(child.number for child in children)
        self.tree.close(Round(parent.number, step.mode, numbers, best.number if best else None))
        if best is not None:
            self._look_again(best.number)

    def _child(self, parent: Node, model: TextModel, tokenizer: bytes, proposal: Proposal) -> Node:
        """Made, measured, and trained a little where it keeps the limits."""
        number = len(self.tree.nodes)
        folder = self.tree.node_folder(number)
        edit = proposal.edit
        config = dataclasses.replace(model.config, architecture=edit.architecture)
        child = transfer(model, edit.weights, config, seed=number)
        cost = self._cost(child, tokenizer, folder)
        node = Node(
            number=number,
            parent=parent.number,
            mode=proposal.mode,
            what=proposal.what,
            architecture=edit.architecture,
            weights=edit.weights,
            state=PROBED,
            cost=cost,
            parameters=_parameters(child),
            inherited=measure_share(model.config, edit.weights, config).overall,
        )
        if self._settings.by_cost and not within(cost, self._budget):
            shutil.rmtree(folder, ignore_errors=True)
            return self.tree.put(dataclasses.replace(node, state=OVER))
        try:
            self._train(child, tokenizer, number, self._settings.probe_rows, "probe")
        except DataError:  # the loss diverged: said of the node, no reason to stop
            shutil.rmtree(folder, ignore_errors=True)
            return self.tree.put(dataclasses.replace(node, state=DIVERGED))
        save_model(child, folder / PROBED, tokenizer)
        return self.tree.put(dataclasses.replace(node, loss=self._loss(child, tokenizer)))

    def _trained_on(self, node: Node) -> Node:
        model, tokenizer = self.model(node.number)
        folder = self.tree.node_folder(node.number)
        self._train(model, tokenizer, node.number, self._settings.step_rows, "step")
        trained = dataclasses.replace(node, state=TRAINED, loss=self._loss(model, tokenizer))
        trained = self._scored(trained, model, tokenizer)
        save_model(model, folder / TRAINED, tokenizer)
        self.tree.put(trained)
        forget(folder / "step")
        shutil.rmtree(folder / PROBED)
        return trained

    def _train(
        self, model: TextModel, tokenizer: bytes, number: int, rows: int, stage: str
    ) -> None:
        """Each node learns from other rows, as long as there are others."""
        checkpoint = self.tree.node_folder(number) / stage
        recipe = dataclasses.replace(self._settings.recipe, seed=number)
        self._nursery.distil(
            Child(model, tokenizer, ()),
            self._targets,
            recipe,
            rows,
            checkpoint,
            f"  {stage} {number}",
            start=number * self._settings.step_rows,
        )
        if stage == "probe":
            forget(checkpoint)

    def _cost(self, model: TextModel, tokenizer: bytes, folder: Path) -> Cost:
        built = build(self._work, model, tokenizer, "node", (self._precision,), folder)
        return cost_on_board(self._work, built.bundle, built.exported[0].variant.name)

    def _scored(self, node: Node, model: TextModel, tokenizer: bytes) -> Node:
        """With the score of its graph on held-out rows, and its value."""
        folder = self.tree.node_folder(node.number)
        built = build(self._work, model, tokenizer, "node", (self._precision,), folder)
        graph = built.exported[0]
        size = float(artefact_bytes(built.bundle, graph.variant.name))
        cost = dataclasses.replace(node.cost, size_bytes=size)
        found = score_graph(
            self._work,
            graph,
            tokenizer,
            self._work.split.valid,
            self._work.valid_task,
            f"  score {node.number}",
        )
        graph.path.unlink()
        built.bundle.path.unlink()
        value = objective(found.value, self._reference.score, cost, self._reference.cost)
        return dataclasses.replace(node, cost=cost, score=found.value, value=value)

    def _loss(self, model: TextModel, tokenizer: bytes) -> float:
        """Of the labels of held-out rows."""
        data = self._work.encode(self._work.split.valid, tokenizer)
        logits = torch.from_numpy(predict(model, data, self._work.threads))
        return float(row_loss(self._work.task)(logits, torch.from_numpy(data.labels)))

    def _saliency(self, model: TextModel, tokenizer: bytes) -> Saliency:
        """By rows that the seed did not learn from, where there are any."""
        rows = self._work.split.further or self._work.split.train
        return self._nursery.saliency(model, tokenizer, rows)

    def _look_again(self, number: int) -> None:
        """A board drifts, and one figure may be lucky: now and then it is measured once more."""
        trained = [node for node in self.tree.nodes.values() if node.state == TRAINED]
        node = self.tree.nodes[number]
        if len(trained) % AGAIN_EVERY or node.measured_again:
            return
        cost = self._cost(*self.model(number), self.tree.node_folder(number))
        self.tree.put(dataclasses.replace(node, measured_again=(cost,)))

    @property
    def _worth(self) -> Worth:
        return value_of if self._settings.by_cost else accuracy_of

    def _best(self) -> Node:
        """By the objective; of those that keep the limits, the root at least."""
        nodes = self.tree.nodes.values()
        return best_node(
            node for node in nodes if node.number == ROOT or within(node.cost, self._budget)
        )

    def _report(self, detail: str = "") -> None:
        done, total = len(self.tree.rounds), self._settings.rounds
        self._work.on_progress(Progress("refine", done, total, detail or self._said()))

    def _said(self) -> str:
        best = self._best()
        return "nothing better yet" if best.number == ROOT else f"best: {best.what}"


def _parameters(model: TextModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
