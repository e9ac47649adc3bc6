"""How a client and a board that know the same short code prove it to each other.

The board shows the code, a person types it on the client. Both ends stretch it with the
certificate of the TLS connection they see: k = scrypt(code, salt = sha256(certificate)).
Whoever stands between them shows a certificate of his own, so that the ends' keys differ,
and cannot find the code from a proof before it has expired (50 bits, each guess a scrypt).

client -> board   HMAC(k, "client", signing request)
board -> client   HMAC(k, "board", certificate, authority, role)
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

ROLES = ("infer", "measure", "deploy", "admin")  # each may do what those before it may
SERVER_NAME = "edgetran-board"  # in every board's certificate; its own authority vouches for it

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no I, L, O, U: nothing that reads as another
ALIKE = str.maketrans({"I": "1", "L": "1", "O": "0", "-": "", " ": ""})
CODE_LENGTH = 10  # 50 bits


def new_code() -> str:
    letters = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    return f"{letters[:5]}-{letters[5:]}"


def key(code: str, certificate: bytes) -> bytes:
    """certificate: of the board, as this end sees it (DER)."""
    plain = code.upper().translate(ALIKE).encode()
    salt = hashlib.sha256(certificate).digest()
    return hashlib.scrypt(plain, salt=salt, n=1 << 14, r=8, p=1, dklen=32)


def proof(made_with: bytes, who: str, *parts: bytes) -> bytes:
    """who: "client" or "board"."""
    running = hmac.new(made_with, who.encode(), hashlib.sha256)
    for part in parts:
        running.update(len(part).to_bytes(8, "big") + part)
    return running.digest()


def same(left: bytes, right: bytes) -> bool:
    """Takes as long whether they differ early or late."""
    return hmac.compare_digest(left, right)
