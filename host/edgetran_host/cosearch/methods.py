"""The search methods by name: a visible table, imported only when asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.inheriting import Inheriting

METHODS = {  # name -> module:function of this package, and what it is
    "boshcode": ("methods:boshcode", "Bayesian optimisation over designs and boards"),
    "local": ("methods:local", "steps from the best seen, first of all layers alike"),
    "random": ("methods:by_chance", "by chance"),
    "legacy": ("methods:legacy", "the search as it was published"),
    "optuna-tpe": ("methods:tpe", "Optuna's tree-structured Parzen estimator, one block repeated"),
    "optuna-gp": ("methods:gp", "Optuna's Gaussian process, one block repeated"),
}


@dataclass(frozen=True)
class Choice:
    """alpha, beta: shares of queries by uncertainty, and by chance; None: the method's own."""

    method: str = "boshcode"
    alpha: float | None = None
    beta: float | None = None
    random_seed: int = 0
    inheriting: Inheriting | None = None  # what trainings cost, where that is to be minded
