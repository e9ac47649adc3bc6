"""Pairing with a board, from the code that it shows to credentials that are kept."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import grpc
from edgetran_protos import pairing
from edgetran_protos.generated.edgetran.v1.pairing_pb2 import PairRequest
from edgetran_protos.generated.edgetran.v1.pairing_pb2_grpc import PairingServiceStub

from edgetran.addresses import check_address
from edgetran.channel import OPTIONS, translated
from edgetran.errors import BoardUnreachable, NotPermitted, UsageError
from edgetran.paired import OPTION, Paired, keep

ASK_S = 30.0
LAST_PORT = 65535


def pair(address: str, code: str, *, at: str = "", name: str = "") -> str:
    """The role that the board gave. address: of its daemon; at: where the code is awaited,
    one port above by default; name: of this machine, for the board's list.

    Raises BoardUnreachable, NotPermitted when the code is wrong or somebody stands between.
    """
    check_address(address)
    at = check_address(at or pairing_address(address))
    certificate = _certificate(at)
    key, request = _signing_request(name or socket.gethostname())
    secret = pairing.key(code, ssl.PEM_cert_to_DER_cert(certificate.decode()))
    credentials = grpc.ssl_channel_credentials(certificate)
    with grpc.secure_channel(at, credentials, options=[*OPTIONS, OPTION]) as channel:
        asked = PairRequest(signing_request=request, proof=pairing.proof(secret, "client", request))
        with translated(at):
            told = PairingServiceStub(channel).Pair(asked, timeout=ASK_S)
    wanted = pairing.proof(secret, "board", told.certificate, told.authority, told.role.encode())
    if not pairing.same(wanted, told.proof):
        raise NotPermitted(
            f"what answers at {at} does not know the code", hint="is it the board? pair again"
        )
    keep(address, Paired(told.authority, told.certificate, key))
    return str(told.role)


def pairing_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) >= LAST_PORT:
        raise UsageError(f"no pairing beside {address}", hint="say where with --at HOST:PORT")
    return f"{host}:{int(port) + 1}"


def _certificate(address: str) -> bytes:
    """What the other end shows (PEM); that it is the board's is proven later, by the code."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        plain = socket.create_connection((host.strip("[]"), int(port)), ASK_S)
        with plain, context.wrap_socket(plain) as secure:
            found = secure.getpeercert(binary_form=True)
    except OSError as exc:
        raise BoardUnreachable(
            f"nobody waits for this machine at {address}: {exc.strerror or exc}",
            hint=f"on the board run `edgetran-daemon pair --listen {address}`",
        ) from exc
    if found is None:
        raise BoardUnreachable(f"{address} shows no certificate", hint="is it the board?")
    return ssl.DER_cert_to_PEM_cert(found).encode()


def _signing_request(name: str) -> tuple[bytes, bytes]:
    """(private key, request), both PEM; the key stays on this machine."""
    x509, forms, ec, sha256 = _cryptography()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, sha256())
    text = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    return text, request.public_bytes(forms.Encoding.PEM)


def _cryptography() -> tuple[Any, Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256
    except ImportError:
        raise UsageError(
            "pairing needs the package cryptography", hint="pip install 'edgetran[tls]'"
        ) from None
    return x509, serialization, ec, SHA256
