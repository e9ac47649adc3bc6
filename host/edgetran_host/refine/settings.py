"""What a refinement may spend, and how it chooses; kept with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgetran_host.refine.ablations import DISTILLATION, HARDWARE
from edgetran_host.refine.cycle import PATIENCE, SHRINKING
from edgetran_host.refine.proposals import Sizes
from edgetran_host.training.recipes import Recipe


@dataclass(frozen=True)
class Settings:
    rounds: int
    probe_rows: int  # that each child of a round learns from
    step_rows: int  # that the best of them learns from afterwards
    recipe: Recipe
    modes: tuple[str, ...] = SHRINKING
    patience: int = PATIENCE
    sizes: Sizes = field(default_factory=Sizes)
    importance: str = "saliency"  # one of IMPORTANCES
    without: tuple[str, ...] = ()  # of ablations.PARTS

    @property
    def by_cost(self) -> bool:
        """Costs decide which children are trained and compared by what."""
        return HARDWARE not in self.without

    @property
    def taught(self) -> bool:
        """By the fine-tuned seed; else by labels alone."""
        return DISTILLATION not in self.without
