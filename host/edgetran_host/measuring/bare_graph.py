"""A bundle around a bare ONNX graph, good for measuring it and for nothing else.

Its row is all ones and its tokenizer knows one word: what a graph costs hardly depends on
what it reads. The work is counted, so that an emulated board can answer for it too.
"""

from __future__ import annotations

from pathlib import Path

from edgetran_protos.bundle import (
    MEDIA_WEIGHT_CONFIG,
    MEDIA_WEIGHTS,
    Bundle,
    BundleCard,
    Golden,
    Variant,
    canonical_json,
    digest_of,
    model_name,
    write_bundle,
)
from edgetran_protos.errors import UsageError

from edgetran_host.export.tensors import read_graph
from edgetran_host.export.work import count_graph
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.identity import architecture_id

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
ONE_WORD = canonical_json(
    {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"},
    }
)


def bundle_of_graph(
    path: Path, out: Path, length: int, design: Architecture | None = None
) -> Bundle:
    """length: of a row, where the graph leaves it open. design: what the graph was made of.

    Raises ExportError, UsageError.
    """
    model = read_graph(path)
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise UsageError(
            f"{path.name} keeps weights in other files", hint="save it as one file first"
        )
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if unknown := [one.name for one in inputs if one.name not in INPUTS]:
        raise UsageError(
            f"{path.name} takes {', '.join(unknown)}: not a text model's inputs",
            hint=f"it may take {', '.join(INPUTS)}",
        )
    dims = [one.type.tensor_type.shape.dim for one in inputs]
    fixed = {dim[1].dim_value for dim in dims if len(dim) == 2 and dim[1].dim_value}
    length = max(fixed, default=length)
    open_axes = {dim[1].dim_param for dim in dims if len(dim) == 2 and dim[1].dim_param}
    work = count_graph(path, dict.fromkeys(open_axes, length)).total
    data = path.read_bytes()
    precision = "int8" if work.int8_ops else "fp32"
    name = f"onnxruntime-{precision}"
    row = [1] * length
    card = BundleCard(
        name=model_name(path.stem),
        task="regression",
        labels=[],
        sequence_length=length,
        tokenizer_digest=digest_of(ONE_WORD),
        architecture=design.to_dict() if design else {},
        architecture_id=architecture_id(design) if design else "",
        variants=[Variant(name, "onnxruntime", precision, digest_of(data), len(data), work, 0.0)],
        golden=Golden([["[UNK]"]], [row], [row], [[0] * length], {name: [[0.0]]}, 0.0),
    )
    files = {
        path.name: (MEDIA_WEIGHTS, data),
        "tokenizer.json": (MEDIA_WEIGHT_CONFIG, ONE_WORD),
    }
    return write_bundle(out, card, files)
