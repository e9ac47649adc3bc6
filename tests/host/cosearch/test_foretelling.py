"""A surrogate of the ledger's own measurements: right where it speaks, silent where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgetran_host.cosearch.foretelling import Foreteller, wide
from edgetran_host.cosearch.goal import Limits
from edgetran_host.ledger import Ledger
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.identity import architecture_id
from edgetran_host.space.parameters import count_parameters
from edgetran_host.space.sampling import sample
from edgetran_host.surrogates.terms import architecture_terms

from tests.host.cosearch.test_seed_space import PRODUCT

DESIGNS = sample(PRODUCT.space, 40, np.random.default_rng(0))
BYTES_A_WEIGHT = 4


def key(design: Architecture, board: str = "rpi4:cpu") -> dict[str, object]:
    return {"architecture": architecture_id(design), "board": board}


def costs(design: Architecture, noise: float = 0.0) -> dict[str, float | None]:
    """Of a board that pays for each operation; it has no power sensor."""
    flops = sum(v for name, v in architecture_terms(design).items() if name.endswith("_flops"))
    weights = count_parameters(design, vocab_size=0, positions=0, pooler=False)
    return {
        "latency_s": (1e-3 + 1e-10 * flops) * float(np.exp(noise)),
        "energy_j": None,
        "peak_power_w": None,
        "size_bytes": 1e6 + BYTES_A_WEIGHT * (weights.attention + weights.feed_forward),
    }


def filled(path: Path, count: int, scatter: float) -> Ledger:
    ledger, rng = Ledger(f"sqlite:///{path}/ledger.db"), np.random.default_rng(1)
    for design in DESIGNS[:count]:
        measured = {**costs(design, scatter * rng.normal()), "design": design.to_dict()}
        ledger.put("cost", key(design), measured)
        ledger.put("cost", key(design, "another"), {**measured, "latency_s": 1.0})
    return ledger


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Foreteller:
    return Foreteller(filled(tmp_path_factory.mktemp("sure"), 26, 0.005), "cost")


def test_it_is_right_where_it_speaks(sure: Foreteller) -> None:
    inside = 0
    for design in DESIGNS[26:]:
        found, truth = sure.cost(key(design), "rpi4", design, Limits()), costs(design)
        assert found is not None
        assert found["latency_s"] == pytest.approx(truth["latency_s"], rel=0.05)
        assert found["size_bytes"] == pytest.approx(truth["size_bytes"], rel=1e-6)
        assert found["energy_j"] is None
        low, high = found["latency_s_interval"]
        inside += low <= float(truth["latency_s"] or 0) <= high
    assert inside >= 0.8 * len(DESIGNS[26:])


def test_it_says_the_same_whenever_it_is_asked(sure: Foreteller, tmp_path: Path) -> None:
    """Rows that came after the last fit change nothing, nor does another process."""
    design = DESIGNS[-1]
    other = Foreteller(filled(tmp_path, 30, 0.005), "cost")
    asked = (key(design), "rpi4", design, Limits())
    assert sure.cost(*asked) == other.cost(*asked)


def test_what_a_limit_cuts_is_measured(sure: Foreteller) -> None:
    design = DESIGNS[-1]
    found = sure.cost(key(design), "rpi4", design, Limits())
    assert found is not None
    near, far = found["latency_s"], found["latency_s"] / 2
    assert sure.cost(key(design), "rpi4", design, Limits(latency_s=near)) is None
    assert sure.cost(key(design), "rpi4", design, Limits(latency_s=far)) == found


@pytest.mark.parametrize(("count", "scatter", "width"), [(15, 0.005, 0.05), (20, 0.3, 0.05)])
def test_it_is_silent_where_it_cannot_know(
    tmp_path: Path, count: int, scatter: float, width: float
) -> None:
    teller = Foreteller(filled(tmp_path, count, scatter), "cost", width)
    assert teller.cost(key(DESIGNS[-1]), "rpi4", DESIGNS[-1], Limits()) is None


def test_width_nothing_switches_it_off(tmp_path: Path) -> None:
    teller = Foreteller(filled(tmp_path, 20, 0.0), "cost", 0.0)
    assert teller.cost(key(DESIGNS[-1]), "rpi4", DESIGNS[-1], Limits()) is None


def test_what_is_kept_is_too_wide_for_who_asks_for_more(sure: Foreteller) -> None:
    found = sure.cost(key(DESIGNS[30]), "rpi4", DESIGNS[30], Limits())
    assert found is not None
    half = found["latency_s_interval"][1] / found["latency_s"] - 1
    assert [wide(found, width) for width in (0.0, 0.9 * half, half, 0.05)] == [
        *(True, True),
        *(False, False),
    ]
