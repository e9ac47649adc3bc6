"""When a delivered figure breaks a promise: never by chance, never against another kind."""

from __future__ import annotations

from math import comb

import pytest
from edgetran.results import Quantity
from edgetran_host.fleet.canary import golden_rows
from edgetran_host.fleet.delivered import Answered, Delivered, at_most, broken_promises
from edgetran_protos.bundle import BundleCard, Claim, Golden

PLACE, VARIANT = "rpi4:cpu", "onnxruntime-int8"


def card(*claims: Claim) -> BundleCard:
    golden = Golden(
        [["a"], ["b"]], [[1], [1]], [[1], [1]], [[0], [0]], {VARIANT: [[1.0, 0.9], [0, 9]]}, 0.2
    )
    labels = ["x", "y"]
    return BundleCard(
        "m", "classification", labels, 1, "sha256:0", {}, "id", [], golden, list(claims)
    )


def claim(metric: str, value: float, *, measured: bool = True, board: str = PLACE) -> Claim:
    return Claim(metric, value, 0.9 * value, 1.1 * value, measured, board, VARIANT)


def broken(found: Delivered, *claims: Claim) -> list[str]:
    return broken_promises(card(*claims), PLACE, VARIANT, found, slack=0.1)


def delivered(p99_s: float, low: float | None = None, **more: object) -> Delivered:
    return Delivered({"latency_p99_s": Quantity(p99_s, low, None)}, **more)  # type: ignore[arg-type]


def test_a_promise_is_broken_beyond_both_intervals_and_the_slack() -> None:
    promised = claim("latency_p99_s", 0.02)  # at most 22 ms, with the slack 24.2
    assert broken(delivered(0.0243), promised) == ["p99 24.3 ms, promised p99 20 ms"]
    assert not broken(delivered(0.0241), promised)
    assert not broken(delivered(0.05, low=0.02), promised)  # it is not sure


def test_only_figures_of_one_kind_are_compared() -> None:
    modelled = claim("latency_p99_s", 0.02, measured=False)
    assert not broken(delivered(1.0), modelled)
    assert broken(delivered(1.0, modelled=True), modelled)
    assert not broken(delivered(1.0), claim("latency_p99_s", 0.02, board="jetson-nano:gpu"))
    assert not broken(delivered(1.0, verdict="invalid"), claim("latency_p99_s", 0.02))


def test_answers() -> None:
    assert broken(Delivered(agreement=Answered(3, 2)))
    assert not broken(Delivered(agreement=Answered(3, 3)))
    promised = claim("accuracy", 0.9, board="")  # the low end: 81 %
    assert broken(Delivered(accuracy=Answered(100, 60)), promised)
    assert not broken(Delivered(accuracy=Answered(100, 75)), promised)  # may be chance


@pytest.mark.parametrize(("seen", "count", "share"), [(3, 10, 0.5), (0, 5, 0.1), (40, 50, 0.9)])
def test_at_most(seen: int, count: int, share: float) -> None:
    slow = sum(comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(seen + 1))
    assert at_most(seen, count, share) == pytest.approx(slow)


def test_what_is_kept_comes_back() -> None:
    found = delivered(0.02, 0.01, modelled=True, verdict="valid", agreement=Answered(3, 3))
    assert Delivered.from_json(found.to_json()) == found
    assert Delivered.from_json({}) == Delivered()


def test_labels_that_lie_near_are_both_right() -> None:
    near, far = golden_rows(card(), VARIANT)
    assert near.labels == {"x", "y"}
    assert far.labels == {"y"}
