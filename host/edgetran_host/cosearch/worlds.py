"""What a search's evaluations come from: an assumed truth, or training and boards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgetran.progress import OnProgress
from edgetran_devices import UnknownBoard, resolve
from edgetran_protos.errors import DataError, UnknownTarget, UsageError

from edgetran_host.cosearch.evaluator import Evaluator
from edgetran_host.cosearch.oracle import MAKE, Oracle
from edgetran_host.cosearch.oracle_evaluator import OracleEvaluator
from edgetran_host.cosearch.pair import Place
from edgetran_host.cosearch.search_config import FLEXIBERT2, SEED, SearchConfig
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.design_space import DesignSpace


@dataclass(frozen=True)
class Machines:
    """Where trainings run: the name of an engine, tasks at a time, threads of each."""

    engine: str = "local"
    slots: int = 1
    threads: int = 1


@contextlib.contextmanager
def assumed_world(config: SearchConfig) -> Iterator[Evaluator]:
    assert config.oracle is not None
    if not config.oracle.is_file():
        raise DataError(f"no oracle at {config.oracle}", hint=MAKE)
    oracle = Oracle.load(config.oracle)
    product = ProductSpace(_space(config.space), _places(config.targets, oracle))
    yield OracleEvaluator(oracle, product, config.random_seed)


@contextlib.contextmanager
def real_world(
    config: SearchConfig, folder: Path, storage: str, machines: Machines, on_progress: OnProgress
) -> Iterator[Evaluator]:
    """folder: of weights and bundles. storage: where what was paid for is kept."""
    from edgetran_host.cosearch.assignment import Assignment
    from edgetran_host.cosearch.real_evaluator import RealEvaluator
    from edgetran_host.engine import open_engine
    from edgetran_host.ledger import Ledger

    if config.space not in ("", SEED):
        raise UsageError(
            f"designs of {config.space} cannot take the seed's weights yet",
            hint=f"--space {SEED}, or search an assumed truth with --oracle",
        )
    assignment = Assignment(
        config.data,
        config.targets,
        seed=config.seed,
        effort=config.effort,
        sequence_length=config.sequence_length,
        train_rows=config.train_rows,
        random_seed=config.random_seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        ledger = Ledger(storage)
        stack.callback(ledger.close)
        engine = open_engine(machines.engine, slots=machines.slots, threads=machines.threads)
        stack.enter_context(engine)
        evaluator = RealEvaluator(
            assignment, folder, ledger, engine, config.limits, on_progress=on_progress
        )
        stack.callback(evaluator.close)
        yield evaluator


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
