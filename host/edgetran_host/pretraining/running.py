"""A pre-training from its request to a seed, in one folder.

OUT/pretraining.json   the request
OUT/tokenizer.json     the tokenizer
OUT/tokens/            the text as token ids
OUT/state.safetensors  where an unfinished run stands
OUT/curve.jsonl        what it learnt and when; curve.png and report.html draw it
OUT/model/             the result: what `--seed OUT` reads
OUT/result.json        its figures
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from edgetran.progress import OnProgress, ignore
from edgetran_protos.errors import UsageError

from edgetran_host.job.run_directory import read_json, write_atomically
from edgetran_host.models.checkpoint import TOKENIZER, save_model
from edgetran_host.models.own_seed import MODEL, PRETRAINING
from edgetran_host.models.text_model import TextModel
from edgetran_host.pretraining.batches import Batches, held_out_batches
from edgetran_host.pretraining.corpus import Corpus, Windows, prepare
from edgetran_host.pretraining.curve import Curve
from edgetran_host.pretraining.finding import RESULT
from edgetran_host.pretraining.learner import MaskedLearner
from edgetran_host.pretraining.masked_words import MaskedWords
from edgetran_host.pretraining.masking import Masking
from edgetran_host.pretraining.request import Request, settle
from edgetran_host.pretraining.sources import check_sources
from edgetran_host.pretraining.stepping import Run, Standing, Stepper
from edgetran_host.pretraining.team import Team, available, is_first, once, team
from edgetran_host.pretraining.word_pieces import make_tokenizer, padding_of, size_of
from edgetran_host.training.device import own_draws
from edgetran_host.training.precision import fast_products
from edgetran_host.training.threads import compute_threads
from edgetran_host.training.training_state import TrainingState

TOKENS, STATE = "tokens", "state.safetensors"


def pretrain(
    request: Request, folder: Path, *, threads: int = 1, on_progress: OnProgress = ignore
) -> dict[str, Any]:
    """Runs or continues the pre-training of `folder`; returns its figures.

    Every process of a launcher calls this; all but the first are silent.
    Raises UsageError, DataError.
    """
    check_sources(request.sources)
    available(request.device)  # before hours of reading text
    if not is_first():
        on_progress = ignore
    with _claimed(folder, request), compute_threads(threads):
        tokenizer_json = once(
            lambda: _tokenizer(folder, request), lambda: _read(folder / TOKENIZER)
        )
        corpus = once(
            lambda: prepare(folder / TOKENS, tokenizer_json, request.sources, on_progress),
            lambda: Corpus.open(folder / TOKENS),
        )
        with team(request.device, request.precision) as found:
            done = _read(folder / RESULT)
            if done is None:
                _train(request, folder, found, corpus, tokenizer_json, on_progress)
            found.wait()
    return read_json(folder / RESULT)


def _train(
    request: Request,
    folder: Path,
    members: Team,
    corpus: Corpus,
    tokenizer_json: bytes,
    on_progress: OnProgress,
) -> None:
    """Up to OUT/result.json, which the first process writes last."""
    if request.batch_size % (members.count * request.accumulation):
        raise UsageError(
            f"{request.batch_size} rows do not fall into equal parts for {members.count} "
            f"processes and {request.accumulation} parts each",
            hint="choose a --batch-size that their product divides",
        )
    learner = new_learner(request, tokenizer_json).to(members.device)
    config = learner.model.config
    masking = Masking.of(tokenizer_json, config.vocab_size, config.pad_id, request.random_seed)
    windows = Windows(corpus, request.sequence_length)
    looked_at = Windows(corpus, request.sequence_length, held_out=True)
    part = request.batch_size // members.count // request.accumulation
    run = Run(
        request=request,
        team=members,
        learner=learner,
        batches=Batches(windows, masking, request.batch_size, request.random_seed),
        held_out=tuple(held_out_batches(looked_at, masking, part)),
        state=TrainingState(folder / STATE, _fingerprint(request, corpus, tokenizer_json)),
        curve=Curve(folder),
        on_progress=on_progress,
    )
    with own_draws(members.device, request.random_seed), fast_products():
        standing = Stepper(run).learn()
    if members.rank == 0:
        save_model(learner.model.cpu(), folder / MODEL, tokenizer_json)
        result = _figures(request, learner, corpus, windows, members, standing)
        write_atomically(folder / RESULT, json.dumps(result, indent=1).encode())
        run.state.forget()


def new_learner(request: Request, tokenizer_json: bytes) -> MaskedLearner:
    """Its weights follow from the request's seed, on every device alike."""
    config = request.model_config(size_of(tokenizer_json), padding_of(tokenizer_json))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.random_seed)
        model = TextModel(config)
    return MaskedLearner(model, MaskedWords(config, request.random_seed))


def _figures(
    request: Request,
    learner: MaskedLearner,
    corpus: Corpus,
    windows: Windows,
    members: Team,
    standing: Standing,
) -> dict[str, Any]:
    config = learner.model.config
    read = standing.done * request.step_tokens
    return {
        "kind": "pre-training",
        "design": request.architecture.to_dict(),
        "weights": sum(p.numel() for p in learner.model.parameters()),
        "vocabulary": config.vocab_size,
        "corpus_tokens": corpus.tokens,
        "rows": len(windows),
        "steps": standing.done,
        "tokens": read,
        "times_through": standing.done * request.batch_size / len(windows),
        "seconds": round(standing.elapsed_s, 1),
        "tokens_s": round(read / standing.elapsed_s, 1) if standing.elapsed_s else None,
        "device": _device_name(members),
        "processes": members.count,
        "precision": "bf16" if members.bf16 else "fp32",
        "loss": standing.level.running,
        "held_out_loss": standing.best.loss,
        "perplexity": math.exp(standing.best.loss),
        "kept_step": standing.best.step,
    }


def _device_name(members: Team) -> str:
    if members.device.type == "cuda":
        return torch.cuda.get_device_name(members.device)
    return f"cpu, {torch.get_num_threads()} threads"


def _tokenizer(folder: Path, request: Request) -> bytes:
    """Made once: the same folder keeps its tokenizer."""
    found = _read(folder / TOKENIZER)
    if found is None:
        found = make_tokenizer(request.tokenizer, request.vocabulary, request.sources)
        Masking.of(found, size_of(found), padding_of(found), 0)  # it must have a mask
        write_atomically(folder / TOKENIZER, found)
    return found


def _read(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _fingerprint(request: Request, corpus: Corpus, tokenizer_json: bytes) -> str:
    told = {**request.to_json(), "corpus": [corpus.tokens, corpus.held_out_tokens]}
    for key in ("precision", "device", "compiled"):
        del told[key]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    digest.update(tokenizer_json)
    return digest.hexdigest()


@contextlib.contextmanager
def _claimed(folder: Path, request: Request) -> Iterator[None]:
    """The folder is this request's, and one command at a time works in it."""
    if not is_first():
        once(lambda: True, lambda: (folder / PRETRAINING).exists() or None)
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another process is working in {folder}", hint="wait for it, or give another --out"
            ) from error
        settle(request, folder)
        try:
            yield
        except UsageError as error:
            if error.hint:  # it asks for a change, which this folder refuses
                error.hint += f", with another --out: {folder} keeps its request until removed"
            raise
