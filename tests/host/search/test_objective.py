"""What the search maximises: signs, units, and limits that are kept or broken."""

from __future__ import annotations

import dataclasses
import math

import pytest
from edgetran_host.job.config import Budget
from edgetran_host.search.objective import (
    Cost,
    describe_excess,
    excess,
    objective,
    with_defaults,
    within,
)
from edgetran_protos.errors import BudgetError, UsageError
from hypothesis import given
from hypothesis import strategies as st

SEED = Cost(latency_s=0.08, energy_j=0.3, peak_power_w=5.0, size_bytes=90e6, modelled=True)
AMOUNT = st.floats(1e-6, 1e9)
COSTS = st.builds(
    Cost,
    latency_s=AMOUNT,
    energy_j=st.none() | AMOUNT,
    peak_power_w=st.none() | AMOUNT,
    size_bytes=AMOUNT,
    modelled=st.just(False),
)
LIMIT = st.none() | AMOUNT
BUDGETS = st.builds(Budget, LIMIT, LIMIT, LIMIT, LIMIT)


def cheaper(**factors: float) -> Cost:
    """The seed with some of its costs multiplied."""
    changed = {name: getattr(SEED, name) * factor for name, factor in factors.items()}
    return dataclasses.replace(SEED, **changed)


class TestObjective:
    def test_the_seed_itself_has_none(self) -> None:
        assert objective(0.9, 0.9, SEED, SEED) == 0

    def test_a_point_of_score_counts_one(self) -> None:
        assert objective(0.91, 0.9, SEED, SEED) == pytest.approx(1)
        assert objective(0.88, 0.9, SEED, SEED) == pytest.approx(-2)

    @pytest.mark.parametrize(
        ("name", "weight"), [("latency_s", 1.5), ("energy_j", 0.25), ("size_bytes", 0.75)]
    )
    def test_a_cost_counts_by_its_factor(self, name: str, weight: float) -> None:
        half = objective(0.9, 0.9, cheaper(**{name: 0.5}), SEED)
        assert half == pytest.approx(weight * math.log(2))
        assert objective(0.9, 0.9, cheaper(**{name: 2}), SEED) == pytest.approx(-half)

    @pytest.mark.parametrize(("prefer", "times"), [("accuracy", 0.2), ("speed", 3.0)])
    def test_what_is_preferred_weighs_costs_anew(self, prefer: str, times: float) -> None:
        fast = cheaper(latency_s=0.5, size_bytes=0.1)
        saved = objective(0.9, 0.9, fast, SEED)
        assert objective(0.9, 0.9, fast, SEED, prefer) == pytest.approx(times * saved)
        assert objective(0.91, 0.9, SEED, SEED, prefer) == pytest.approx(1)

    def test_nobody_prefers_nothing_known(self) -> None:
        with pytest.raises(UsageError, match="'size' is nothing to prefer") as raised:
            objective(0.9, 0.9, SEED, SEED, "size")
        assert "balance" in (raised.value.hint or "")

    def test_peak_power_is_a_limit_only(self) -> None:
        assert objective(0.9, 0.9, cheaper(peak_power_w=0.1), SEED) == 0

    def test_energy_counts_where_the_board_gives_it(self) -> None:
        blind = dataclasses.replace(SEED, energy_j=None)
        for cost, seed in ((blind, SEED), (SEED, blind), (blind, blind)):
            assert objective(0.9, 0.9, cost, seed) == 0

    @given(COSTS, st.floats(1e-3, 1e3), st.floats(0, 1), st.floats(0, 1))
    def test_units_do_not_matter(self, cost: Cost, unit: float, score: float, own: float) -> None:
        """Seconds or milliseconds, bytes or megabytes: only ratios to the seed count."""

        def in_unit(of: Cost) -> Cost:
            energy = None if of.energy_j is None else of.energy_j * unit
            return Cost(of.latency_s * unit, energy, None, of.size_bytes * unit, of.modelled)

        there = objective(score, own, in_unit(cost), in_unit(SEED))
        assert there == pytest.approx(objective(score, own, cost, SEED), rel=1e-6, abs=1e-6)


class TestLimits:
    @given(COSTS, BUDGETS)
    def test_excess_is_positive_exactly_where_a_limit_is_broken(
        self, cost: Cost, budget: Budget
    ) -> None:
        pairs = (
            (cost.latency_s, budget.max_latency_s),
            (cost.energy_j, budget.max_energy_j),
            (cost.size_bytes, budget.max_size_bytes),
            (cost.peak_power_w, budget.max_power_w),
        )
        broken = [bool(value and limit and value > limit) for value, limit in pairs]
        assert [part > 0 for part in excess(cost, budget)] == broken
        assert within(cost, budget) is not any(broken)
        named = describe_excess(cost, budget)
        words = ("latency", "energy", "size", "peak power")
        assert [word in named for word in words] == broken

    def test_excess_is_the_logarithm_of_the_factor(self) -> None:
        found = excess(SEED, Budget(max_latency_s=0.04, max_size_bytes=180e6))
        assert found == pytest.approx((math.log(2), 0, -math.log(2), 0))

    def test_a_limit_reached_exactly_is_kept(self) -> None:
        assert within(SEED, Budget(0.08, 0.3, 90e6, 5.0))

    def test_in_words_with_units(self) -> None:
        named = describe_excess(SEED, Budget(0.04, 0.1, 15e6, 4))
        assert named == (
            "latency 80 ms, at most 40 ms, energy 300 mJ, at most 100 mJ, "
            "size 90 MB, at most 15 MB, peak power 5 W, at most 4 W"
        )


SMALLEST = dataclasses.replace(SEED, latency_s=0.01, size_bytes=4e6)


class TestDefaults:
    def test_a_seed_with_little_to_give_is_still_searched(self) -> None:
        smallest = dataclasses.replace(SEED, latency_s=0.06, size_bytes=50e6)
        found = with_defaults(Budget(), SEED, smallest)
        assert within(smallest, found)
        assert with_defaults(Budget(0.01, None, 1e6), SEED, smallest).max_latency_s == 0.01

    def test_faster_and_smaller_than_the_seed(self) -> None:
        found = with_defaults(Budget(), SEED, SMALLEST)
        assert found == Budget(max_latency_s=0.04, max_size_bytes=15e6)
        assert not within(SEED, found)

    def test_the_users_limits_stay(self) -> None:
        asked = Budget(1.0, 2.0, 3.0, 4.0)
        assert with_defaults(asked, SEED, SMALLEST) == asked
        assert with_defaults(Budget(max_latency_s=1.0), SEED, SMALLEST).max_latency_s == 1.0

    @pytest.mark.parametrize(
        ("budget", "named"),
        [(Budget(max_energy_j=1.0), "energy"), (Budget(max_power_w=9.0), "peak power")],
    )
    def test_what_the_board_does_not_give_cannot_be_limited(
        self, budget: Budget, named: str
    ) -> None:
        blind = dataclasses.replace(SEED, energy_j=None, peak_power_w=None)
        with pytest.raises(BudgetError, match=f"gives no {named}") as caught:
            with_defaults(budget, blind, SMALLEST)
        assert caught.value.hint
        assert with_defaults(Budget(), blind, SMALLEST).max_energy_j is None
