"""Puts graphs, tokenizer and card together as one bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgetran_protos.bundle import (
    MEDIA_DOC,
    MEDIA_PROVENANCE,
    MEDIA_SBOM,
    MEDIA_WEIGHT_CONFIG,
    MEDIA_WEIGHTS,
    Bundle,
    BundleCard,
    Claim,
    Golden,
    digest_of,
    write_bundle,
)

from edgetran_host.bundling.origin import Origin
from edgetran_host.bundling.provenance import PROVENANCE_FILE, provenance
from edgetran_host.export import Graph, run_graph
from edgetran_host.models.config import ModelConfig
from edgetran_host.space.identity import architecture_id
from edgetran_host.tasks import Encoded, Row, Task

TOKENIZER_FILE = "tokenizer.json"
TOLERANCE = {  # largest difference a board's probe accepts from the golden logits
    "fp32": 1e-3,
    "fp16": 1e-3,  # only stored so: computed in fp32
    "int8": 0.2,  # CPUs without dot-product instructions saturate and round differently
    "int8-weights": 0.2,
}


def pack(
    path: Path,
    *,
    name: str,
    task: Task,
    exported: Sequence[Graph],
    tokenizer_json: bytes,
    config: ModelConfig,
    rows: Sequence[Row],
    encoded: Encoded,
    claims: Sequence[Claim],
    licence: str,
    accuracy_costs: Mapping[str, float] | None = None,
    max_accuracy_cost: float | None = None,
    origin: Origin | None = None,
    notices: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Writes a bundle to `path` (a .tar, or a folder), atomically.

    rows, encoded: golden rows as text and as tokens; same rows, same order.
    accuracy_costs: what each variant lost of the model's score on rows held out for such
    decisions; with max_accuracy_cost a board serves the fastest of those that lost no more.
    origin: gives the bundle its bill of materials and its provenance; a trial's has neither.
    notices: licence texts and the like, by file name.
    """
    costs = accuracy_costs or {}
    tolerances = {item.variant.name: TOLERANCE[item.variant.precision] for item in exported}
    golden = Golden(
        texts=[[row.text] if row.text_pair is None else [row.text, row.text_pair] for row in rows],
        input_ids=encoded.input_ids.tolist(),
        attention_mask=encoded.attention_mask.tolist(),
        token_type_ids=encoded.token_type_ids.tolist(),
        logits={
            # all at once, as the board's probe runs them: see `run_graph`
            item.variant.name: run_graph(
                item.variant.runtime, item.path, encoded, batch_rows=len(encoded)
            ).tolist()
            for item in exported
        },
        tolerance=min(tolerances.values()),
        tolerances=tolerances,
    )
    length = int(encoded.input_ids.shape[1])
    card = BundleCard(
        name=name,
        task=task.kind,
        labels=list(task.labels),
        sequence_length=length,
        tokenizer_digest=digest_of(tokenizer_json),
        architecture=config.architecture.to_dict(),
        architecture_id=architecture_id(
            config.architecture,
            sequence_length=length,
            lt_scale=config.lt_scale,
            embedding_width=config.embedding_width,
        ),
        variants=[
            dataclasses.replace(item.variant, accuracy_cost=costs.get(item.variant.name))
            for item in exported
        ],
        golden=golden,
        claims=list(claims),
        licence=licence,
        max_accuracy_cost=max_accuracy_cost,
    )
    files = {item.path.name: (MEDIA_WEIGHTS, item.path.read_bytes()) for item in exported}
    files[TOKENIZER_FILE] = (MEDIA_WEIGHT_CONFIG, tokenizer_json)
    files |= {name: (MEDIA_DOC, text) for name, text in (notices or {}).items()}
    if origin is not None:
        files |= _papers(card, origin, files)
    return write_bundle(path, card, files)


def _papers(
    card: BundleCard, origin: Origin, files: Mapping[str, tuple[str, bytes]]
) -> dict[str, tuple[str, bytes]]:
    """What says where the files come from."""
    from edgetran_host.bundling.sbom import SBOM_FILE, sbom  # slow to load

    digests = {name: digest_of(data) for name, (_, data) in files.items()}
    runtimes = [variant.runtime for variant in card.variants]
    bill = sbom(card.name, card.licence, digests, runtimes, origin)
    return {
        SBOM_FILE: (MEDIA_SBOM, bill),
        PROVENANCE_FILE: (MEDIA_PROVENANCE, provenance(origin, digests)),
    }
