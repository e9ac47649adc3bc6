"""Whose a connection is, by real sockets, and what each user may open."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from edgetran_daemon.security.callers import Caller, Callers, socket_owner
from edgetran_daemon.server import _sharing_callers
from edgetran_daemon.settings.settings import Settings

linux = pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
ANOTHER_UID = 4321


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        found.settimeout(20)
        yield found


def owner(peer: tuple[str, int], own: tuple[str, int]) -> object:
    return socket_owner(ip_address(peer[0]), peer[1], ip_address(own[0]), own[1])


@linux
def test_an_own_connection_is_ones_own_until_it_ends(listener: socket.socket) -> None:
    own = listener.getsockname()
    with socket.create_connection(own) as client, listener.accept()[0]:
        peer = client.getsockname()
        assert owner(peer, own) == os.getuid()
        assert owner((peer[0], 1), own) is None
        assert owner(peer, (own[0], 1)) is None
        callers = Callers("127.0.0.1")
        callers.port = own[1]
        assert callers.of(f"ipv4:127.0.0.1:{peer[1]}") == Caller(os.getuid())
        client.shutdown(socket.SHUT_WR)
        assert owner(peer, own) is None, "a closed end may be anybody's soon"
    assert owner(peer, own) is None


@linux
def test_a_socket_of_both_families_is_found_by_either_address(listener: socket.socket) -> None:
    """As gRPC's clients make them: IPv6, connected to an IPv4 address."""
    own = listener.getsockname()
    with socket.socket(socket.AF_INET6) as client:
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        client.connect((f"::ffff:{own[0]}", own[1]))
        with listener.accept()[0] as end:
            assert owner(end.getpeername(), own) == os.getuid()


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_connection_is_theirs(listener: socket.socket) -> None:
    own = listener.getsockname()
    os.seteuid(ANOTHER_UID)
    try:
        client = socket.create_connection(own)
    finally:
        os.seteuid(0)
    with client, listener.accept()[0] as end:
        assert owner(end.getpeername(), own) == ANOTHER_UID


@pytest.mark.parametrize("peer", ["", "unix:", "ipv4:127.0.0.1", "inproc:1", "ipv4:127.0.0.1:x"])
def test_what_is_no_tcp_peer_is_nobody(peer: str) -> None:
    assert Callers("127.0.0.1").of(peer) is None


def test_a_socket_in_a_private_folder_is_this_users_alone(tmp_path: Path) -> None:
    """tmp_path lies under one, so folders are made where everybody may enter."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    deep = private / "deep"
    deep.mkdir(mode=0o755)
    assert Callers(f"unix:{deep}/a.sock").of("unix:") == Caller(os.geteuid())
    assert Callers("unix:/dev/shm/a.sock").of("unix:") == Caller(None, os.getegid())


def stat_result(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((0o100000 | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize("mode", range(0, 0o1000, 0o007))
@pytest.mark.parametrize(("uid", "gid"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_a_caller_opens_what_the_system_would_let_them_open(mode: int, uid: int, gid: int) -> None:
    found = stat_result(mode, uid, gid)
    everyone = mode & 0o006 == 0o006
    assert Caller(1).may_open(found) is (uid == 1 or everyone)
    assert Caller(None, 1).may_open(found) is (everyone or (gid == 1 and mode & 0o060 == 0o060))


@linux
def test_only_this_machine_shares_memory_and_only_if_it_is_on(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost", "unix:/run/a.sock"):
        assert _sharing_callers(Settings(host, 1, tmp_path))
        assert _sharing_callers(Settings(host, 1, tmp_path, shared_memory=False)) is None
    for host in ("0.0.0.0", "192.0.2.7", "board.local"):
        assert _sharing_callers(Settings(host, 1, tmp_path)) is None
