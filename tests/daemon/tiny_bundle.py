"""A real bundle, small enough for a test: word vectors, masked mean, one linear layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from edgetran_protos.bundle import (
    MEDIA_WEIGHT_CONFIG,
    MEDIA_WEIGHTS,
    Bundle,
    BundleCard,
    Claim,
    Golden,
    Variant,
    Work,
    digest_of,
    write_bundle,
)
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

LENGTH = 8
WORDS = ("[PAD]", "[UNK]", "turn", "on", "off", "the", "light", "heat", "play", "music")
LABELS = ["light", "heat", "music"]
TEXTS = [["turn on the light"], ["heat on"], ["play", "the music"]]
VARIANT = "onnxruntime-fp32"
PLACE = "local:cpu"  # where the promise was measured


def tokenizer_json() -> bytes:
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer.to_str().encode()


def weights(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"words": (len(WORDS), 4), "types": (2, 4), "out": (4, len(LABELS))}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def graph(seed: int = 0) -> bytes:
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", LENGTH])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["word"]),
        helper.make_node("Gather", ["types", "token_type_ids"], ["type"]),
        helper.make_node("Add", ["word", "type"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask2"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask2", "last"], ["mask"]),
        helper.make_node("Mul", ["vectors", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["sum", "out"], ["logits"]),
    ]
    constants = {
        **weights(seed),
        "last": np.array([2], np.int64),
        "middle": np.array([1], np.int64),
    }
    built = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def endless_graph(seed: int = 0) -> bytes:
    """The same for masks of 0 and 1; a run whose mask has a 2 takes longer than anybody waits."""
    model = onnx.load_from_string(graph(seed))
    scalar = {"i": TensorProto.INT64, "going": TensorProto.BOOL, "kept_going": TensorProto.BOOL}
    values = {name: helper.make_tensor_value_info(name, kind, []) for name, kind in scalar.items()}
    before, after = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("before", "after")
    )
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["kept_going"]),
            helper.make_node("Add", ["before", "nothing"], ["after"]),
        ],
        "body",
        [values["i"], values["going"], before],
        [values["kept_going"], after],
    )
    constants = {
        "nothing": np.zeros(1, np.float32),
        "one": np.array(1, np.int64),
        "ages": np.array(1 << 40, np.int64),
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    model.graph.node[-1].output[0] = "quick"
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["attention_mask"], ["largest"], keepdims=0),
            helper.make_node("Sub", ["largest", "one"], ["beyond"]),
            helper.make_node("Mul", ["beyond", "ages"], ["times"]),  # at most 0: not once
            helper.make_node("Loop", ["times", "", "nothing"], ["looped"], body=body),
            helper.make_node("Add", ["quick", "looped"], ["logits"]),
        ]
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def encode(texts: list[list[str]]) -> dict[str, np.ndarray]:
    tokenizer = Tokenizer.from_str(tokenizer_json().decode())
    tokenizer.enable_padding(length=LENGTH, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(LENGTH)
    rows = tokenizer.encode_batch([tuple(t) if len(t) == 2 else t[0] for t in texts])
    return {
        "input_ids": np.array([row.ids for row in rows], np.int64),
        "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
        "token_type_ids": np.array([row.type_ids for row in rows], np.int64),
    }


def reference(tokens: dict[str, np.ndarray], seed: int = 0) -> np.ndarray:
    """The graph's logits in numpy."""
    w = weights(seed)
    vectors = w["words"][tokens["input_ids"]] + w["types"][tokens["token_type_ids"]]
    return (vectors * tokens["attention_mask"][..., None]).sum(1) @ w["out"]


def make(
    path: Path,
    seed: int = 0,
    *,
    wrong_by: float = 0.0,
    name: str = "tiny",
    p99_s: float = 0.0,
    sequence: int = 0,
    others: Sequence[tuple[Variant, bytes]] = (),
    max_accuracy_cost: float | None = None,
    accuracy_cost: float | None = None,
    tolerances: Mapping[str, float] | None = None,
    promised: Sequence[Claim] = (),
) -> Bundle:
    """wrong_by: added to the golden logits, so that the probe must fail. p99_s: promised.

    others: further variants, with their graphs, that compute the same.
    """
    tokens, data, tokenizer = encode(TEXTS), graph(seed), tokenizer_json()
    work = Work(24.0, 0.0, 512.0, 48.0, 192.0, 8)
    own = Variant(
        VARIANT, "onnxruntime", "fp32", digest_of(data), len(data), work, 1e-6, accuracy_cost
    )
    logits = (reference(tokens, seed) + wrong_by).tolist()
    card = BundleCard(
        name=name,
        task="classification",
        labels=LABELS,
        sequence_length=LENGTH,
        tokenizer_digest=digest_of(tokenizer),
        architecture={},
        architecture_id=f"tiny-{seed}",
        variants=[own, *(variant for variant, _ in others)],
        golden=Golden(
            texts=TEXTS,
            **{key: value.tolist() for key, value in tokens.items()},
            logits=dict.fromkeys((VARIANT, *(v.name for v, _ in others)), logits),
            tolerance=1e-4,
            tolerances=tolerances or {},
        ),
        licence="Apache-2.0",
        claims=[
            *promised,
            *([Claim("latency_p99_s", p99_s, None, None, True, PLACE, VARIANT)] if p99_s else []),
        ],
        sequence=sequence,
        max_accuracy_cost=max_accuracy_cost,
    )
    files = {
        "model.onnx": (MEDIA_WEIGHTS, data),
        "tokenizer.json": (MEDIA_WEIGHT_CONFIG, tokenizer),
        **{variant.name: (MEDIA_WEIGHTS, graph) for variant, graph in others},
    }
    return write_bundle(path, card, files)
