"""The board's own authority, and the certificates it signs: the daemon's and its clients'.

Boards often have no clock, so nothing here expires: who is trusted stands in trust.json.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Optional

import grpc
from edgetran_protos.errors import BoardError, UsageError
from edgetran_protos.pairing import SERVER_NAME

from edgetran_daemon.deployment.ledger import partial_of, write_atomically

FOREVER = (datetime.datetime(2000, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59))  # RFC 5280
NAMES = ("authority.key", "authority.pem", "daemon.key", "daemon.pem")  # in the order of writing


class Certificates:
    """One folder; complete when its last file is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def complete(self) -> bool:
        return (self.folder / NAMES[-1]).is_file()

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def make(self) -> None:
        """The authority and the daemon's certificate, unless they are there. Raises BoardError."""
        if self.complete:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        authority_key = new_key()
        authority = signed(authority_key, "edgetran authority", authority_key, None)
        daemon_key = new_key()
        daemon = signed(daemon_key, SERVER_NAME, authority_key, authority)
        made = (key_pem(authority_key), pem(authority), key_pem(daemon_key), pem(daemon))
        for name, data in zip(NAMES, made):
            partial_of(self.folder / name).unlink(missing_ok=True)
            write_atomically(self.folder / name, data, "certificate")

    def sign(self, request_pem: bytes) -> tuple[str, bytes]:
        """(name, certificate) of a client. Raises UsageError."""
        x509, serialization = _x509(), _serialization()
        try:
            request = x509.load_pem_x509_csr(request_pem)
            names = request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
            if not request.is_signature_valid or len(names) != 1:
                raise ValueError("it is not signed, or has not one name")
        except Exception as exc:  # what it raises on other people's bytes is not documented
            raise UsageError(f"the signing request cannot be used: {exc}") from exc
        key = serialization.load_pem_private_key(self.read(NAMES[0]), None)
        authority = x509.load_pem_x509_certificate(self.read(NAMES[1]))
        name = str(names[0].value)
        return name, pem(signed(request, name, key, authority))


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Only clients with a certificate of the board's authority get through. Raises UsageError."""
    keys = Certificates(folder)
    if not keys.complete:
        raise UsageError(
            f"there are no certificates in {folder}", hint="pair a client: `edgetran-daemon pair`"
        )
    pair = (keys.read(NAMES[2]), keys.read(NAMES[3]))
    return grpc.ssl_server_credentials([pair], keys.read(NAMES[1]), require_client_auth=True)


def new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def signed(subject: Any, name: str, key: Any, authority: Optional[Any]) -> Any:
    """subject: what has a public key. authority None: signed by itself, and may sign others."""
    from cryptography.hazmat.primitives.hashes import SHA256

    x509 = _x509()
    subject_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject_name)
        .issuer_name(authority.subject if authority else subject_name)
        .public_key(subject.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(FOREVER[0])
        .not_valid_after(FOREVER[1])
        .add_extension(x509.BasicConstraints(authority is None, None), critical=True)
    )
    if name == SERVER_NAME:
        names = x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, SHA256())


def pem(certificate: Any) -> bytes:
    return bytes(certificate.public_bytes(_serialization().Encoding.PEM))


def key_pem(key: Any) -> bytes:
    forms = _serialization()
    plain = forms.NoEncryption()
    return bytes(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, plain))


def _x509() -> Any:
    try:
        from cryptography import x509
    except ImportError:
        raise BoardError(
            "certificates need the package cryptography",
            hint="pip install 'edgetran-daemon[tls]'",
        ) from None
    return x509


def _serialization() -> Any:
    from cryptography.hazmat.primitives import serialization

    return serialization
