"""`edgetran pretrain`: a design from scratch, on text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from edgetran_host.cli.options import RANDOM_SEED, Finite, json_option, threads_option


@click.command()
@click.option("--design", required=True, metavar="FILE|SPEC", help="What to train; see below.")
@click.option(
    "--text",
    "sources",
    multiple=True,
    required=True,
    metavar="PATH",
    help=".txt or .txt.gz, a folder of them, or hf:NAME; may be repeated.",
)
@click.option("--steps", type=click.IntRange(1), default=None, help="How many steps to take.")
@click.option("--tokens", type=click.IntRange(1), default=None, help="How many tokens to read.")
@click.option("--for", "period", default=None, metavar="30min", help="How long to train.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to train in; in the end a seed.",
)
@click.option(
    "--vocabulary",
    type=click.IntRange(100),
    default=8192,
    show_default=True,
    help="Word pieces that a new tokenizer learns from the text.",
)
@click.option("--tokenizer", default=None, metavar="FILE", help="Use this one; learn none.")
@click.option(
    "--positions",
    type=click.Choice(["relative", "absolute"]),
    default="relative",
    show_default=True,
    help="How heads know places; absolute is faster on boards.",
)
@click.option(
    "--sequence-length",
    type=click.IntRange(4, 4096),
    default=128,
    show_default=True,
    help="Tokens a row.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Rows a step."
)
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Parts a batch is computed in; more need less memory.",
)
@click.option(
    "--learning-rate",
    type=Finite(0, min_open=True),
    default=1e-3,
    show_default=True,
    help="The highest, at the end of the warm-up; from there it falls to nothing.",
)
@click.option(
    "--warm-up",
    type=Finite(0, 1),
    default=0.06,
    show_default=True,
    help="Share of the training in which the rate rises.",
)
@click.option(
    "--dropout",
    type=Finite(0, 0.9),
    default=0.1,
    show_default=True,
    help="Share of activations that a step leaves out.",
)
@click.option(
    "--random-seed",
    type=RANDOM_SEED,
    default=0,
    show_default=True,
    help="Of the first weights, the rows' order and the masks.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Of matrix products; auto: bf16 on GPUs and CPUs with instructions for it, else fp32.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train; auto: on a GPU that PyTorch can use, else on the CPU.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the model first (GPUs).")
@threads_option
@json_option
def pretrain(
    design: str,
    sources: tuple[str, ...],
    period: str | None,
    out: Path,
    accumulate: int,
    warm_up: float,
    threads: int | None,
    as_json: bool,
    steps: int | None,
    tokens: int | None,
    **settings: Any,
) -> None:
    """Pre-train a design from scratch on text, by guessing masked words.

    The folder it leaves is a seed: `edgetran deploy --seed OUT`. The same command continues a
    run that was stopped. DESIGN is bert-tiny, bert-mini, bert-small, bert-medium, bert-base, a
    JSON file of one architecture, or LAYERSxHIDDEN:HEADS:STACK.

    \b
    Examples:
      edgetran pretrain --design bert-mini --text books/ --for 30min --out runs/mini
      edgetran pretrain --design 4x256:sa_sdp*2,c_5*2:1024 --text w.txt.gz --steps 20000 --out OUT
      edgetran pretrain --design my.json --text hf:wikitext:wikitext-103-v1 --tokens 2000000000
          --out runs/wiki
      accelerate launch --multi_gpu -m edgetran_host.cli.main pretrain --design ... --out ...
      edgetran deploy --seed runs/mini --target nano --data intents
    """
    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.show_pretraining import show_pretraining
    from edgetran_host.job.running import free_cores
    from edgetran_host.job.units import parse
    from edgetran_host.pretraining.designs import design_of
    from edgetran_host.pretraining.drawing import draw
    from edgetran_host.pretraining.request import Request
    from edgetran_host.pretraining.running import pretrain as run
    from edgetran_host.pretraining.team import is_first

    request = Request(
        architecture=design_of(design),
        sources=sources,
        steps=steps or 0,
        tokens=tokens or 0,
        seconds=0.0 if period is None else parse("time", period),
        accumulation=accumulate,
        warmup_fraction=warm_up,
        **settings,
    )
    with progress(as_json=as_json) as on_progress:
        result = run(request, out, threads=threads or free_cores(), on_progress=on_progress)
    if is_first():
        draw(out)
        show_pretraining(out, result, as_json=as_json)
