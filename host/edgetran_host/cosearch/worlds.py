"""What a search's evaluations come from: an assumed truth, or training and boards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edgetran_devices import UnknownBoard, resolve
from edgetran_protos.errors import DataError, UnknownTarget, UsageError

from edgetran_host.cosearch.evaluator import Evaluator
from edgetran_host.cosearch.oracle import MAKE, Oracle
from edgetran_host.cosearch.oracle_evaluator import OracleEvaluator
from edgetran_host.cosearch.pair import Place
from edgetran_host.cosearch.search_config import FLEXIBERT2, SEED, SearchConfig
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.design_space import DesignSpace


@contextlib.contextmanager
def assumed_world(config: SearchConfig) -> Iterator[Evaluator]:
    assert config.oracle is not None
    if not config.oracle.is_file():
        raise DataError(f"no oracle at {config.oracle}", hint=MAKE)
    oracle = Oracle.load(config.oracle)
    product = ProductSpace(_space(config.space), _places(config.targets, oracle))
    yield OracleEvaluator(oracle, product, config.random_seed)


def _space(name: str) -> DesignSpace:
    if name == SEED:
        raise UsageError(
            "an oracle knows no pretrained seed to search around",
            hint=f"--space {FLEXIBERT2}, or a TOML file",
        )
    return DesignSpace.flexibert2() if name in ("", FLEXIBERT2) else DesignSpace.load(Path(name))


def _places(targets: tuple[str, ...], oracle: Oracle) -> tuple[Place, ...]:
    """A target without a unit is its board's usual one, or the only one that is known of it."""
    known = {place.board: place for place in oracle.places}
    if not targets:
        return oracle.places
    return tuple(dict.fromkeys(known[_board(target, tuple(known))] for target in targets))


def _board(target: str, known: tuple[str, ...]) -> str:
    try:
        spec, unit = resolve(target)
    except UnknownBoard as exc:
        raise UnknownTarget(str(exc), hint=exc.hint) from exc
    if f"{spec.id}:{unit}" in known:
        return f"{spec.id}:{unit}"
    others = [board for board in known if board.partition(":")[0] == spec.id]
    if ":" in target or len(others) != 1:
        raise UnknownTarget(
            f"the oracle knows nothing of {spec.id}:{unit}", hint=f"it knows {', '.join(known)}"
        )
    return others[0]
