"""Every RPC has a role, and each role reaches what it should and nothing above it."""

from __future__ import annotations

import pytest
from edgetran_daemon.security.roles import NEEDED, permits
from edgetran_daemon.services.health import FILES, SERVICES
from edgetran_protos import open_inference
from edgetran_protos.pairing import ROLES
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2


def served() -> set[str]:
    """The methods of every service that the daemon offers, by their descriptors."""
    services = [
        service
        for module in (*FILES, health_pb2, reflection_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    ]
    services.append(open_inference.POOL.FindServiceByName(open_inference.SERVICE))
    return {
        f"/{service.full_name}/{method.name}" for service in services for method in service.methods
    }


def test_every_rpc_is_in_the_table_and_nothing_else() -> None:
    assert set(NEEDED) == served()
    assert {name.rpartition("/")[0][1:] for name in NEEDED} >= set(SERVICES)


@pytest.mark.parametrize("method", sorted(NEEDED))
def test_a_role_reaches_down_and_not_up(method: str) -> None:
    needed = ROLES.index(NEEDED[method])
    for place, role in enumerate(ROLES):
        assert permits(role, method) is (place >= needed)


@pytest.mark.parametrize("role", ["", "root", "Admin", "admin "])
def test_a_role_that_is_none_reaches_nothing(role: str) -> None:
    assert not any(permits(role, method) for method in NEEDED)


def test_a_method_that_is_not_in_the_table_is_nobodys() -> None:
    assert not any(permits(role, "/edgetran.v1.DeviceService/Reboot") for role in ROLES)
