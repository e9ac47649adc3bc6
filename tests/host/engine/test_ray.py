"""A real Ray of this machine alone keeps the engines' contract."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
from edgetran_host.engine import Engine, open_engine
from edgetran_protos.errors import UsageError

from tests.contracts.engine_contract import EngineContract

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.fixture(scope="module")
def cluster() -> Iterator[Engine]:
    """One for all, since starting it takes seconds; the contract's last test closes it."""
    with open_engine("ray", slots=2) as engine:
        assert engine.slots == 2
        yield engine


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="needs Ray: pip install 'edgetran-host[ray]'")
class TestRay(EngineContract):
    @pytest.fixture
    def engine(self, cluster: Engine) -> Engine:
        return cluster


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="needs Ray: pip install 'edgetran-host[ray]'")
def test_nobody_at_the_address() -> None:
    with pytest.raises(UsageError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        open_engine("ray", address="127.0.0.1:1")


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_it_says_what_to_install() -> None:
    with pytest.raises(UsageError, match="ray is not installed") as missing:
        open_engine("ray")
    assert "edgetran-host[ray]" in missing.value.hint
