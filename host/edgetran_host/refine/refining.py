"""GPTran: edits the chosen model step by step, each edit measured on the target.

A round asks for edits of a node, makes each child by weight transfer, measures it on the board,
leaves out those that break a limit, trains the others a little, and trains the best of them on.
Children of a round may be trained side by side; the board measures one after the other.
What was done is in the tree, so Ctrl-C or kill -9 cost at most the trainings under way, which
have checkpoints of their own.
Source: the method's specification, section 8.
"""

from __future__ import annotations

import dataclasses
import shutil
from concurrent.futures import Future, as_completed
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path

import numpy as np
from edgetran.progress import Progress
from edgetran_protos.errors import ExportError

from edgetran_host.engine import Engine
from edgetran_host.job.child import Nursery
from edgetran_host.job.config import Budget
from edgetran_host.job.offers import SEARCHED_RUNTIME, pairs_on
from edgetran_host.job.searching import Reference
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.refine.cycle import (
    Step,
    Worth,
    accuracy_of,
    best_node,
    next_step,
)
from edgetran_host.refine.deployable import change_precision, cut_vocabulary, narrow_embedding
from edgetran_host.refine.held_out import held_out_loss
from edgetran_host.refine.importance import IMPORTANCES, Importance
from edgetran_host.refine.judging import Judge
from edgetran_host.refine.lesson import Lesson, learn_at
from edgetran_host.refine.making import make
from edgetran_host.refine.node import (
    DIVERGED,
    MEASURED,
    OVER,
    PROBED,
    ROOT,
    ROOT_MODE,
    TRAINED,
    Node,
    Round,
)
from edgetran_host.refine.proposals import (
    CHANGE_PRECISION,
    NARROW_EMBEDDING,
    PRUNE_VOCABULARY,
    Proposal,
    propose,
)
from edgetran_host.refine.ranking import winner
from edgetran_host.refine.settings import Settings
from edgetran_host.refine.tree import RefinementTree
from edgetran_host.search.objective import Cost, within
from edgetran_host.transfer import Saliency

AGAIN_EVERY = 3  # trained nodes, after which the last one is measured once more


class Refinement:
    """Of one run, from the model that its search chose."""

    def __init__(
        self,
        work: Workbench,
        nursery: Nursery,
        reference: Reference,
        budget: Budget,
        precision: str,
        root: Path,
        folder: Path,
        settings: Settings,
        engine: Engine | None = None,
    ) -> None:
        """reference: the fine-tuned seed. root: folder of the model to begin with.

        engine: where children are trained side by side; None: here, one after the other.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._work = work
        self._nursery = nursery
        quiet = nullcontext if engine is None else engine.quiet
        self._answers = nursery.answers() if settings.taught else None
        self._judge = Judge(work, reference, self._answers, quiet)
        self._budget = budget
        self._settings = settings
        self._engine = engine
        self._importance: Importance = IMPORTANCES[settings.importance]
        self.tree = RefinementTree(folder)
        if ROOT not in self.tree.nodes:
            self._plant(root, precision, reference.cost)

    def run(self) -> Node:
        """The best node, which may be the root."""
        total = self._settings.rounds
        while self._done() < total:
            self._report()
            step = next_step(
                self.tree.nodes,
                self.tree.rounds,
                self._settings.modes,
                self._settings.patience,
                self._worth,
            )
            if step is None:
                break
            self._round(step)
        self._work.on_progress(Progress("refine", total, total, self._said()))
        return self._best()

    def model(self, number: int) -> tuple[TextModel, bytes]:
        """A node's weights and tokenizer."""
        return load_model(self.tree.node_folder(number) / self.tree.nodes[number].state)

    def _plant(self, root: Path, precision: str, unmeasured: Cost) -> None:
        model, tokenizer = load_model(root)
        found = Node(
            number=ROOT,
            parent=None,
            mode=ROOT_MODE,
            what="the chosen model",
            architecture=model.config.architecture,
            weights=None,
            state=TRAINED,
            cost=unmeasured,
            parameters=_parameters(model),
            runtime=SEARCHED_RUNTIME,
            precision=precision,
            pieces=model.config.vocab_size,
            table_width=model.config.table_width,
            tokens_per_row=self._judge.tokens_per_row(tokenizer),
            loss=held_out_loss(self._work, model, tokenizer, self._answers),
        )
        folder = self.tree.node_folder(ROOT)
        built = self._judge.built(found, model, tokenizer, folder)
        found = dataclasses.replace(found, cost=self._judge.cost(built))
        save_model(model, folder / TRAINED, tokenizer)
        self.tree.put(self._judge.scored(found, tokenizer, built))

    def _round(self, step: Step) -> None:
        parent = self.tree.nodes[step.parent]
        model, tokenizer = self.model(parent.number)
        proposals = self._proposals(step, parent, model, tokenizer)
        children, left_out = self._children(parent, model, tokenizer, proposals)
        best = self._gone_on_with(parent, children)
        for child in children:
            if best is None or child.number != best.number:
                shutil.rmtree(self.tree.node_folder(child.number), ignore_errors=True)
        numbers = tuple(child.number for child in children)
        won = best.number if best else None
        self.tree.close(Round(parent.number, step.mode, numbers, won, left_out))
        if best is not None:
            self._look_again(best.number)

    def _proposals(
        self, step: Step, parent: Node, model: TextModel, tokenizer: bytes
    ) -> list[Proposal]:
        if step.mode == PRUNE_VOCABULARY:
            return cut_vocabulary(parent.architecture, tokenizer, parent.pieces)
        if step.mode == NARROW_EMBEDDING:
            return narrow_embedding(parent.architecture, model.config.embedding_width)
        if step.mode == CHANGE_PRECISION:
            present = (parent.runtime, parent.precision)
            return change_precision(parent.architecture, present, self._variants)
        number = len(self.tree.rounds)
        scores = self._importance(model, lambda: self._saliency(model, tokenizer), number)
        rng = np.random.default_rng([self._work.config.random_seed, number])
        return propose(step.mode, parent.architecture, scores, self._settings.sizes, rng)

    def _children(
        self, parent: Node, model: TextModel, tokenizer: bytes, proposals: list[Proposal]
    ) -> tuple[list[Node], tuple[str, ...]]:
        """In the order of the proposals, with as much training as a round's children get; and
        what could not be exported. One that was measured trains while the next is measured.
        """
        under_way = {node.number: node for node in self.tree.under_way()}
        first = 1 + max(number for number in self.tree.nodes if number not in under_way)
        numbers, left_out = [], []
        learning: dict[Future[float | None], int] = {}
        for number, proposal in enumerate(proposals, first):
            at = number - first + 1
            self._report(f"{proposal.mode}, child {at} of {len(proposals)}")
            try:
                node = under_way.get(number) or self._child(
                    parent, model, tokenizer, proposal, number
                )
            except ExportError as exc:
                shutil.rmtree(self.tree.node_folder(number), ignore_errors=True)
                left_out.append(f"{proposal.what}: {exc}")
                continue
            numbers.append(number)
            if node.state == MEASURED:
                rows = self._settings.probe_rows
                learning[self._learn(number, MEASURED, PROBED, rows, "probe")] = number
            for one in [one for one in learning if one.done()]:
                self._probed(learning.pop(one), one.result())
        for one in as_completed(learning):
            self._probed(learning[one], one.result())
        return [self.tree.nodes[number] for number in numbers], tuple(left_out)

    def _child(
        self, parent: Node, model: TextModel, tokenizer: bytes, proposal: Proposal, number: int
    ) -> Node:
        """Made and measured. Raises ExportError where its graph cannot be had."""
        looks = proposal.pieces is not None or proposal.table_width is not None
        texts = self._work.texts() if looks else ()
        made = make(model, tokenizer, proposal, texts, seed=number)
        runtime, precision = proposal.variant or (parent.runtime, parent.precision)
        node = dataclasses.replace(
            parent,
            number=number,
            parent=parent.number,
            mode=proposal.mode,
            what=proposal.what,
            architecture=proposal.edit.architecture,
            weights=made.weights,
            state=MEASURED,
            parameters=_parameters(made.model),
            runtime=runtime,
            precision=precision,
            pieces=made.model.config.vocab_size,
            table_width=made.model.config.table_width,
            loss=None,
            served_loss=None,
            score=None,
            value=None,
            inherited=made.inherited,
            measured_again=(),
        )
        if proposal.pieces is not None:
            what = proposal.what.replace(f"to {proposal.pieces}", f"to {node.pieces}")
            tokens = self._judge.tokens_per_row(made.tokenizer_json)
            node = dataclasses.replace(node, what=what, tokens_per_row=tokens)
        folder = self.tree.node_folder(number)
        built = self._judge.built(node, made.model, made.tokenizer_json, folder)
        cost = self._judge.cost(built)
        node = dataclasses.replace(node, cost=cost)
        if self._settings.by_cost and not within(cost, self._budget):
            shutil.rmtree(folder, ignore_errors=True)
            return self.tree.put(dataclasses.replace(node, state=OVER))
        if proposal.variant is not None:  # the same weights: nothing to learn
            node = dataclasses.replace(node, state=TRAINED, loss=parent.loss)
            node = self._judge.scored(node, made.tokenizer_json, built)
        save_model(made.model, folder / node.state, made.tokenizer_json)
        return self.tree.put(node)

    def _probed(self, number: int, loss: float | None) -> None:
        node, folder = self.tree.nodes[number], self.tree.node_folder(number)
        if loss is None:
            shutil.rmtree(folder, ignore_errors=True)
            self.tree.put(dataclasses.replace(node, state=DIVERGED))
            return
        self.tree.put(dataclasses.replace(node, state=PROBED, loss=loss))
        shutil.rmtree(folder / MEASURED)

    def _gone_on_with(self, parent: Node, children: list[Node]) -> Node | None:
        """The winner, trained on; where that diverges, the next best."""
        while True:
            trained = [node for node in children if node.state == TRAINED]
            best = winner(parent, trained or children, by_cost=self._settings.by_cost)
            if best is None or best.state == TRAINED:
                return best
            self._train_on(best)
            children = [self.tree.nodes[node.number] for node in children]

    def _train_on(self, node: Node) -> None:
        rows = self._settings.step_rows
        loss = self._learn(node.number, PROBED, TRAINED, rows, "step").result()
        if loss is None:
            self.tree.put(dataclasses.replace(node, state=DIVERGED, loss=None))
            return
        folder = self.tree.node_folder(node.number)
        trained = dataclasses.replace(node, state=TRAINED, loss=loss)
        model, tokenizer = load_model(folder / TRAINED)
        built = self._judge.built(trained, model, tokenizer, folder)
        trained = self._judge.scored(trained, tokenizer, built)
        self.tree.put(trained)
        shutil.rmtree(folder / PROBED)

    def _learn(
        self, number: int, before: str, after: str, rows: int, stage: str
    ) -> Future[float | None]:
        """Each node learns from other rows, as long as there are others."""
        folder = self.tree.node_folder(number)
        lesson = Lesson(
            run=self._work.run.path,
            source=folder / before,
            place=folder / after,
            recipe=dataclasses.replace(self._settings.recipe, seed=number),
            rows=rows,
            start=number * self._settings.step_rows,
            taught=self._settings.taught,
            threads=self._work.threads,
            stage=f"  {stage} {number}",
        )
        if self._engine is not None:
            return self._engine.submit(lesson.task(), self._work.on_progress)
        learnt: Future[float | None] = Future()
        learnt.set_result(learn_at(self._work, lesson))
        return learnt

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
        folder = self.tree.node_folder(number)
        cost = self._judge.cost(self._judge.built(node, *self.model(number), folder))
        self.tree.put(dataclasses.replace(node, measured_again=(cost,)))

    @cached_property
    def _variants(self) -> list[tuple[str, str]]:
        return pairs_on(self._work.board)

    @property
    def _worth(self) -> Worth:
        return self._sound_value if self._settings.by_cost else accuracy_of

    def _sound_value(self, node: Node) -> float | None:
        """The objective, where the loss is no more than the root's: the best score of a dozen is
        luck as often as not, and a model that is made worse is no better for being smaller."""
        losses = [one.served_loss or 0.0 for one in (node, self.tree.nodes[ROOT])]
        return node.value if losses[0] <= losses[1] else None

    def _best(self) -> Node:
        """By the objective; of those gone on with that keep the limits, the root at least."""
        won = [self.tree.nodes[one.winner] for one in self.tree.rounds if one.winner is not None]
        kept = [node for node in won if within(node.cost, self._budget)]
        return best_node([self.tree.nodes[ROOT], *kept], self._sound_value)

    def _done(self) -> int:
        """Rounds in which there was something to try."""
        return sum(bool(one.children or one.left_out) for one in self.tree.rounds)

    def _report(self, detail: str = "") -> None:
        total = self._settings.rounds
        self._work.on_progress(Progress("refine", self._done(), total, detail or self._said()))

    def _said(self) -> str:
        best = self._best()
        return "nothing better yet" if best.number == ROOT else f"best: {best.what}"


def _parameters(model: TextModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
