"""What a refinement can be told to do without, to see what each part is good for.

Such a refinement has a folder of its own beside the usual one, is measured like it, and never
deployed: what serves must not depend on a comparison.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from edgetran_protos.errors import UsageError

from edgetran_host.job.releasing import REFINED

GROWTH, SALIENCY, DISTILLATION, HARDWARE = "growth", "saliency", "distillation", "hardware"
PARTS: Mapping[str, str] = {
    GROWTH: "it only prunes, and the last mode of a cycle turns back",
    SALIENCY: "parts to prune are drawn at random",
    DISTILLATION: "labels alone teach, not the fine-tuned seed",
    HARDWARE: "children are compared by their loss alone, and none is left out for its cost; "
    "what is chosen in the end keeps the limits nevertheless",
}


def in_order(without: Collection[str]) -> tuple[str, ...]:
    """Each once, as PARTS has them. Raises UsageError for what is no part."""
    if odd := sorted(set(without) - set(PARTS)):
        raise UsageError(
            f"a refinement has no part called {odd[0]!r}", hint=f"choose of {', '.join(PARTS)}"
        )
    return tuple(part for part in PARTS if part in without)


def folder_name(without: Collection[str]) -> str:
    """In the run's folder."""
    return "-".join((REFINED, *(("without", *without) if without else ())))
