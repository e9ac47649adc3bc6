"""Tokens for a registry, as the big ones want them: anybody reads, who logged in writes."""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

SERVICE = "tests"
HALF_BYTES = 32  # of a signature on P-256


class TokenServer:
    """JSON Web Tokens with the certificate of the key that signed them."""

    def __init__(self, folder: Path, user: str, password: str) -> None:
        server, word = self, base64.b64encode(f"{user}:{password}".encode()).decode()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _certificate(self._key)
        self.certificate = folder / "tokens.pem"
        self.certificate.write_bytes(self._certificate.public_bytes(Encoding.PEM))
        self.asked: list[str] = []  # scopes

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                known = self.headers.get("Authorization") == f"Basic {word}"
                scope = query.get("scope", [""])[0]
                server.asked.append(scope)
                body = json.dumps({"token": server.token(scope, known)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.realm = f"http://127.0.0.1:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def token(self, scope: str, known: bool) -> str:
        """scope: "repository:NAME:pull,push", or nothing."""
        access = []
        if scope:
            kind, name, actions = scope.split(":")
            granted = [one for one in actions.split(",") if known or one == "pull"]
            access.append({"type": kind, "name": name, "actions": granted})
        now = int(time.time())
        chain = [base64.b64encode(self._certificate.public_bytes(Encoding.DER)).decode()]
        claims = {"iss": SERVICE, "aud": SERVICE, "sub": "", "access": access, "jti": "1"}
        claims |= {"nbf": now - 60, "iat": now - 60, "exp": now + 600}
        signed = f"{_part({'typ': 'JWT', 'alg': 'ES256', 'x5c': chain})}.{_part(claims)}"
        pair = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_bare(b''.join(half.to_bytes(HALF_BYTES, 'big') for half in pair))}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _part(value: dict[str, Any]) -> str:
    return _bare(json.dumps(value).encode())


def _bare(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVICE)])
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - day).not_valid_after(now + day)
    return made.sign(key, hashes.SHA256())
