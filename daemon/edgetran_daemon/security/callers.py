"""Which user of this machine a call comes from, as the system tells it and not the caller.

Over loopback the system knows whose the other end of the connection is. Over a Unix socket gRPC
does not say which connection a call came over, so a call is from anybody whom the socket lets in:
the daemon's own user alone where the socket lies in a private folder, else that user's group.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union
from urllib.parse import unquote

from edgetran_daemon.settings.settings import UNIX

EVERYONE_MAY = stat.S_IROTH | stat.S_IWOTH
GROUP_MAY = stat.S_IRGRP | stat.S_IWGRP
OTHERS_MAY_ENTER = stat.S_IXGRP | stat.S_IXOTH
OVERFLOW_UID = 65534  # stands for whom this user namespace does not know

SOCK_DIAG = 4  # the family of netlink(7) that sock_diag(7) speaks
BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
REQUEST = 1  # NLM_F_REQUEST: one answer and no dump
ANY_STATE = NO_COOKIE = 0xFFFFFFFF
ESTABLISHED = 1  # of TCP; a socket that its owner closed no longer tells whose it was
HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, sender
ASKED = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states
PORTS = struct.Struct("!HH")
REST = struct.Struct("=III")  # of inet_diag_sockid: interface, cookie
FOUND = struct.Struct("=BBBB48xIIII")  # inet_diag_msg: family, state, ..., ..., queues, uid
ADDRESS_BYTES = 16
ANSWER_BYTES = 4096
WAIT_S = 1.0  # the kernel answers at once

IpAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


@dataclass(frozen=True)
class Caller:
    """`uid`: the user; None: anybody of the group `gid`."""

    uid: Optional[int]
    gid: int = -1

    def may_open(self, found: os.stat_result) -> bool:
        """Whether the caller may read and write the file without us."""
        if found.st_mode & EVERYONE_MAY == EVERYONE_MAY:
            return True
        if self.uid is not None:
            return found.st_uid == self.uid
        return found.st_gid == self.gid and found.st_mode & GROUP_MAY == GROUP_MAY


class Callers:
    """Of a daemon that listens on `host` (or "unix:PATH"), at `port` once that is known."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.port = 0

    def of(self, peer: str) -> Optional[Caller]:
        """`peer`: as gRPC names it. None: nobody can tell."""
        if self._host.startswith(UNIX):
            path = Path(self._host[len(UNIX) :])
            return Caller(os.geteuid()) if is_private(path) else Caller(None, os.getegid())
        if sys.platform != "linux":
            return None
        family, _, rest = unquote(peer).partition(":")
        address, _, port = rest.rpartition(":")
        if family not in ("ipv4", "ipv6") or not port.isdigit():
            return None
        theirs = ipaddress.ip_address(address.strip("[]"))
        uid = socket_owner(theirs, int(port), self._own(theirs), self.port)
        return None if uid in (None, OVERFLOW_UID) else Caller(uid)

    def _own(self, theirs: IpAddress) -> IpAddress:
        """The address that the caller reached us at."""
        try:
            return ipaddress.ip_address(self._host)
        except ValueError:  # "localhost": both
            return ipaddress.ip_address("127.0.0.1" if theirs.version == 4 else "::1")


def is_private(path: Path) -> bool:
    """Whether a folder on the way to it keeps out all but this user (and root)."""
    return any(
        folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & OTHERS_MAY_ENTER
        for folder in path.resolve().parents
    )


def socket_owner(
    address: IpAddress, port: int, remote: IpAddress, remote_port: int
) -> Optional[int]:
    """The user of this machine's TCP socket between the two; None: there is none, or who knows.

    sock_diag(7) finds one connection by its ends; /proc/net/tcp would list them all, which takes
    tens of milliseconds where the kernel keeps a large table.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    ends = (a.packed.ljust(ADDRESS_BYTES, b"\0") for a in (address, remote))
    body = ASKED.pack(family, socket.IPPROTO_TCP, 0, ANY_STATE) + PORTS.pack(port, remote_port)
    body += b"".join(ends) + REST.pack(0, NO_COOKIE, NO_COOKIE)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel:
            kernel.settimeout(WAIT_S)
            kernel.send(HEADER.pack(HEADER.size + len(body), BY_FAMILY, REQUEST, 1, 0) + body)
            answer = kernel.recv(ANSWER_BYTES)
    except OSError:  # a kernel without sock_diag, or a sandbox
        return None
    if len(answer) < HEADER.size + FOUND.size or HEADER.unpack_from(answer)[1] != BY_FAMILY:
        return None  # no such connection
    _, state, _, _, _, _, _, uid = FOUND.unpack_from(answer, HEADER.size)
    same = PORTS.unpack_from(answer, HEADER.size + 4) == (port, remote_port)
    return int(uid) if state == ESTABLISHED and same else None
