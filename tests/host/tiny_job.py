"""A job small enough for a test: 200 rows, and a teacher that nobody trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from edgetran import Board
from edgetran.progress import ignore
from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.seeds import load_seed
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.tasks import load_task
from edgetran_host.vocabulary import trim_tokenizer

CONFIG = JobConfig(data="intents", seed="minilm", target="nano", effort="quick", train_rows=200)
PIECES = 900
LAYER = Layer(64, ("sa_sdp",) * 4, 16, (64,))


def workbench(path: Path, board: Board, **asked: Any) -> Workbench:
    """A quick job on spoken intents for the board, which is its own reference."""
    task = load_task("intents", limit=200)
    task = dataclasses.replace(task, dev=task.dev[:30])
    config = dataclasses.replace(CONFIG, **asked)
    run = RunDirectory.create(path, config)
    return Workbench(config, task, load_seed("minilm"), run, 1, ignore, board, board, False)


def teacher(work: Workbench) -> tuple[TextModel, bytes]:
    """Two layers of four heads, and a tokenizer of PIECES."""
    tokenizer_json, _ = trim_tokenizer(work.seed.tokenizer_json, work.texts(), PIECES)
    torch.manual_seed(0)
    config = ModelConfig(
        architecture=Architecture((LAYER, LAYER)),
        vocab_size=PIECES,
        positions="absolute",
        max_positions=64,
        type_vocab_size=1,
        pad_id=0,
        layer_norm_eps=1e-6,
        dropout=0.1,
        pooling="mean",
        outputs=work.outputs,
        sequence_length=work.sequence_length,
    )
    return TextModel(config).eval(), tokenizer_json
