"""Rivals of a refined model: its final shape, or three of the seed's layers, in one go.

Each has as many rows to learn from as the refined model saw on its way. One is what a user does
without any of this: the smallest weights of the fine-tuned seed go, the labels teach what is left.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgetran_host.job.bench import Bench
from edgetran_host.job.build import artefact_bytes, build, scores_to_json
from edgetran_host.job.child import Child, Nursery
from edgetran_host.job.releasing import REFINED
from edgetran_host.job.searching import measure_briefly, to_cost
from edgetran_host.job.teacher import fine_tuned_seed, targets
from edgetran_host.job.workbench import Workbench
from edgetran_host.refine.efforts import SPENT
from edgetran_host.refine.importance import IMPORTANCES
from edgetran_host.refine.making import make
from edgetran_host.refine.node import ROOT, Node
from edgetran_host.refine.proposals import Proposal
from edgetran_host.search.seeded_space import Design
from edgetran_host.tasks import score
from edgetran_host.training import Targets
from edgetran_host.transfer.growth import Edit
from results_cell import bench_of, outputs_of
from results_part import EFFORT, Found

ONE_SHOT, TRUNCATED, PRUNED = "one-shot", "truncated", "pruned by magnitude"
RIVALS = (ONE_SHOT, TRUNCATED, PRUNED)
LAYERS = 3  # of the truncated seed


def rival(run: Path, way: str) -> Found:
    """Trained in one go on as many rows as the refined model saw on its way."""
    import edgetran

    bench = bench_of(run)
    teacher, tokenizer_json = fine_tuned_seed(bench)
    nursery = Nursery(bench, teacher, tokenizer_json)
    tree = json.loads((run / REFINED / "result.json").read_text())["refinement"]
    searched = Design(**json.loads((run / "result.json").read_text())["search"]["best"]["design"])
    path = path_to_best(tree)
    told: Targets | None = targets(bench, teacher, tokenizer_json)
    taught = len(bench.split.taught)
    if way == ONE_SHOT:
        child = all_at_once(bench, nursery.child(searched), tree)
    elif way == TRUNCATED:
        whole = nursery.space().seed_point()
        child = nursery.child(replace(whole, layers=LAYERS, precision="int8"))
    else:
        child = by_magnitude(nursery, Node.from_json(tree["nodes"][tree["best"]]))
        told, taught = None, taught - len(bench.split.made)
    rows = rows_seen(bench, path)
    recipe = replace(bench.effort.final_recipe, epochs=rows / taught)
    folder = bench.run.path.parent.parent / "rivals" / f"{run.name}-{way.replace(' ', '-')}"
    nursery.distil(child, told, recipe, taught, folder / "checkpoint", way)
    config = bench.config
    with (
        edgetran.connect(config.target, threads=1) as board,
        edgetran.connect("local", threads=1) as reference,
    ):
        fields = {field.name: getattr(bench, field.name) for field in dataclasses.fields(Bench)}
        work = Workbench(**fields, board=board, reference=reference, allow_older=False)
        built = build(work, child.model, child.tokenizer_json, way, ("int8",), folder)
        variant = built.exported[0].variant.name
        size = artefact_bytes(built.bundle, variant)
        cost = to_cost(measure_briefly(board, built.bundle, variant, bench.on_progress), size)
    found: dict[str, Any] = {
        "parameters": parameters(child),
        "artefact_bytes": size,
        "rows_seen": rows,
        "cost": asdict(cost),
    }
    outputs = outputs_of(bench, built.bundle, variant)
    found["scores"] = scores_to_json(score(bench.task, outputs))
    return {"rows": {way: found}}, {way: outputs}


def by_magnitude(nursery: Nursery, node: Node) -> Child:
    """The refined shape of the seed's largest weights; its table of words stays as wide."""
    seed = nursery.teacher
    kept = IMPORTANCES["magnitude"](seed, nursery.teacher_saliency, 0)
    return nursery.cut(node.architecture, node.pieces, by=kept, dropout=seed.config.dropout)


def all_at_once(bench: Bench, child: Child, tree: dict[str, Any]) -> Child:
    """The edits that led to the refined model, without any training between them."""
    parent = Node.from_json(tree["nodes"][ROOT])
    for node in path_to_best(tree):
        assert node.weights is not None
        proposal = Proposal(
            node.mode,
            node.what,
            Edit(node.architecture, node.weights),
            pieces=node.pieces if node.pieces != parent.pieces else None,
            new_pieces=node.what.endswith("new pieces"),
            table_width=node.table_width if node.table_width != parent.table_width else None,
        )
        made = make(child.model, child.tokenizer_json, proposal, bench.texts(), seed=node.number)
        child, parent = Child(made.model, made.tokenizer_json, ()), node
    return child


def path_to_best(tree: dict[str, Any]) -> list[Node]:
    """From the first edit to the best node."""
    nodes = {raw["number"]: Node.from_json(raw) for raw in tree["nodes"]}
    found, at = [], nodes[tree["best"]]
    while at.number != ROOT:
        assert at.parent is not None
        found.append(at)
        at = nodes[at.parent]
    return found[::-1]


def rows_seen(bench: Bench, path: Sequence[Node]) -> int:
    """By the searched model's trial and last training, each edit, and the refined one's last."""
    _, probe, step = SPENT[EFFORT]
    taught = len(bench.split.taught)
    last = round(bench.effort.final_recipe.epochs * taught)
    return bench.effort.trial_rows + last + (len(path) * (probe + step) + last if path else 0)


def parameters(child: Child) -> int:
    return sum(parameter.numel() for parameter in child.model.parameters())
