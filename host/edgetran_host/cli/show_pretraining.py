"""What a pre-training came to, for people or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from edgetran_host.cli.progress import clock
from edgetran_host.cli.show import print_json


def show_pretraining(folder: Path, result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(folder), **result})
        return
    say = Console(soft_wrap=True, highlight=False).print
    pace = f"{result['tokens_s'] / 1e3:,.1f} k tokens/s" if result["tokens_s"] else "no time"
    say(
        f"{result['weights'] / 1e6:.2f} M weights, {result['vocabulary']} word pieces; "
        f"{result['steps']} steps in {clock(result['seconds'])}, {result['tokens'] / 1e6:.1f} M "
        f"tokens ({result['times_through']:.1f} times through the text)"
    )
    say(f"{pace} on {result['device']}, {result['processes']} process(es), {result['precision']}")
    say(
        f"held-out perplexity {result['perplexity']:.2f} (loss {result['held_out_loss']:.3f}), "
        f"kept from step {result['kept_step']}"
    )
    seed = escape(str(folder))
    say(f"seed: {seed}  (report.html, curve.png)   edgetran deploy --seed {seed} ...")
