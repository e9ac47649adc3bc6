"""`edgetran-daemon pair`: shows a code, and trusts the one client that proves to know it.

A server of its own beside the daemon's, for a few minutes and a few tries. Its certificate
is made for the occasion; the code's key is bound to it (edgetran_protos/pairing.py).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from edgetran_protos import pairing
from edgetran_protos.errors import NotPermitted
from edgetran_protos.generated.edgetran.v1.pairing_pb2 import PairRequest, PairResponse
from edgetran_protos.generated.edgetran.v1.pairing_pb2_grpc import (
    PairingServiceServicer,
    add_PairingServiceServicer_to_server,
)

from edgetran_daemon.activity import Activity
from edgetran_daemon.security.certificates import NAMES, Certificates, key_pem, new_key, pem, signed
from edgetran_daemon.security.trust import Client, Trust
from edgetran_daemon.services.interceptor import ErrorInterceptor
from edgetran_daemon.settings.configuration import default_state, resolve
from edgetran_daemon.settings.settings import join, parse_listen

TRIES = 3
MOST_BYTES = 64 << 10
FOLDER = "pairing"  # below the daemon's state
HANG_UP_S = 1.0
EXAMPLES = """\
examples:
  edgetran-daemon pair --listen 0.0.0.0:50052  then, on the client:
                                               edgetran device pair BOARD:50051
  edgetran-daemon pair --role infer --minutes 15
  edgetran-daemon pair --revoke laptop
"""


class PairingService(PairingServiceServicer):
    def __init__(self, folder: Path, role: str, key: bytes) -> None:
        self._certificates = Certificates(folder)
        self._trust = Trust(folder)
        self._role = role
        self._key = key
        self._tries = TRIES
        self.ended = asyncio.Event()
        self.paired = ""  # the client's name

    async def Pair(
        self, request: PairRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> PairResponse:
        if self.ended.is_set():
            raise NotPermitted("the code is used up", hint="ask for a new one on the board")
        wanted = pairing.proof(self._key, "client", request.signing_request)
        if not pairing.same(wanted, request.proof):
            self._tries -= 1
            if not self._tries:
                self.ended.set()
            raise NotPermitted(
                "the code is wrong, or somebody stands between this client and the board",
                hint=f"{self._tries} tries are left" if self._tries else "ask for a new code",
            )
        name, certificate = self._certificates.sign(request.signing_request)
        self._trust.add(certificate.decode(), Client(name, self._role, time.time()))
        self.paired = name
        self.ended.set()
        authority, role = self._certificates.read(NAMES[1]), self._role
        proof = pairing.proof(self._key, "board", certificate, authority, role.encode())
        return PairResponse(certificate=certificate, authority=authority, role=role, proof=proof)


def pair(arguments: Sequence[str]) -> int:
    """0 paired (or listed, or revoked), 1 nobody came. Raises EdgeTranError, OSError."""
    options = parser().parse_args(arguments)
    state = options.state or resolve({}, os.environ)["state"] or default_state()
    folder = state / FOLDER
    os.umask(0o077)  # keys are nobody else's
    if options.list:
        for client in Trust(folder).clients().values():
            print(f"{client.name}\t{client.role}")
        return 0
    if options.revoke:
        Trust(folder).remove(options.revoke)
        print(f"{options.revoke}: no longer trusted")
        return 0
    parse_listen(options.listen, insecure=True)
    Certificates(folder).make()
    return asyncio.run(_serve(options, folder))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="edgetran-daemon pair",
        description="Lets one client in, by a code shown here.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--listen", default="127.0.0.1:50052", metavar="HOST:PORT", help="where the client comes")
    add("--role", choices=pairing.ROLES, default="deploy", help="what it may do (deploy)")
    add("--state", type=Path, default=None, metavar="DIR", help="the daemon's")
    add("--minutes", type=float, default=5.0, metavar="N", help="how long the code is good (5)")
    add("--list", action="store_true", help="show who is paired, and leave")
    add("--revoke", default="", metavar="NAME", help="trust a client no longer, and leave")
    return made


async def _serve(options: argparse.Namespace, folder: Path) -> int:
    key = new_key()
    certificate = pem(signed(key, pairing.SERVER_NAME, key, None))
    code = pairing.new_code()
    secret = pairing.key(code, ssl.PEM_cert_to_DER_cert(certificate.decode()))
    service = PairingService(folder, options.role, secret)
    server = grpc.aio.server(
        interceptors=[ErrorInterceptor(Activity())],
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MOST_BYTES)],
    )
    add_PairingServiceServicer_to_server(service, server)
    host, port = parse_listen(options.listen, insecure=True)
    credentials = grpc.ssl_server_credentials([(key_pem(key), certificate)])
    port = server.add_secure_port(join(host, port), credentials)
    await server.start()
    print(f"waiting on {join(host, port)}; on the client: edgetran device pair", flush=True)
    print(f"code: {code}", flush=True)
    try:
        await asyncio.wait_for(service.ended.wait(), 60.0 * options.minutes)
    except asyncio.TimeoutError:
        print("nobody came", flush=True)
    await server.stop(HANG_UP_S)
    if service.paired:
        print(f"paired: {service.paired} may {options.role}", flush=True)
    return 0 if service.paired else 1
