"""What a user asked a search for, complete and comparable: equal requests share a study."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgetran_protos.bundle import canonical_json
from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.goal import Limits
from edgetran_host.cosearch.objective_words import USUAL

FLEXIBERT2, SEED = "flexibert2", "seed"  # spaces by name; anything else is a file


@dataclass(frozen=True)
class SearchConfig:
    """Budgets, engines and storages are left out: they change no decision."""

    targets: tuple[str, ...]  # empty: all boards of the oracle
    oracle: Path | None = None
    data: str = "intents"
    seed: str = "minilm"
    effort: str = "quick"
    objective: str = USUAL
    limits: Limits = field(default_factory=Limits)
    space: str = ""  # empty: of an oracle FlexiBERT 2.0, else around the seed
    method: str = "boshcode"
    alpha: float | None = None
    beta: float | None = None
    fidelity: str = ""  # empty: of an oracle "full", else "short"
    promote: bool = False
    sequence_length: int | None = None
    train_rows: int | None = None
    random_seed: int = 0

    def request(self) -> dict[str, Any]:
        """As plain data; files by what they hold, not by where they lie."""
        found = asdict(self)
        found["targets"] = list(self.targets)
        if self.oracle is not None:
            found["oracle"] = {"name": self.oracle.name, "sha256": _digest(self.oracle)}
            found |= dict.fromkeys(("data", "seed", "effort", "sequence_length", "train_rows"))
        if self.space not in ("", FLEXIBERT2, SEED):
            found["space"] = {"name": Path(self.space).name, "sha256": _digest(Path(self.space))}
        return found

    def name(self) -> str:
        """<task>-<id>, safe as the name of a folder and of a study."""
        task = f"oracle-{self.oracle.stem}" if self.oracle else Path(self.data).name
        safe = "".join(one if one.isalnum() or one in "._-" else "-" for one in task.lower())
        digest = hashlib.sha256(canonical_json(self.request())).hexdigest()
        return f"search-{safe.strip('-') or 'task'}-{digest[:8]}"


def _digest(path: Path) -> str:
    """Raises UsageError when there is no such file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise UsageError(
            f"cannot read {path}: {exc.strerror}", hint="check the path, or leave it out"
        ) from exc
