"""Where a bundle lies in a registry: oci://HOST[:PORT]/NAME[:TAG][@sha256:DIGEST]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgetran_protos.errors import UsageError

SCHEME = "oci://"
LATEST = "latest"
# The grammar of the OCI distribution specification; a host has a dot, a port or is localhost.
FORM = re.compile(
    r"(?P<host>(?:localhost|\[[0-9a-fA-F:]+\]|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)(?::[0-9]{1,5})?)"
    r"/(?P<name>[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class Reference:
    host: str  # with its port
    name: str  # of the repository
    tag: str  # empty: the digest says which
    digest: str  # empty: what the tag means today

    @staticmethod
    def parse(text: str) -> Reference:
        """With or without the scheme. Raises UsageError."""
        found = FORM.fullmatch(text.removeprefix(SCHEME))
        if found is None:
            raise UsageError(
                f"{text!r} names nothing in a registry",
                hint="as oci://HOST[:PORT]/NAME:TAG, e.g. oci://registry.local:5000/models/intents:7",
            )
        host, name, tag, digest = found.group("host", "name", "tag", "digest")
        return Reference(host, name, tag or ("" if digest else LATEST), digest or "")

    @property
    def wanted(self) -> str:
        """What is asked for; a digest cannot mean something else tomorrow."""
        return self.digest or self.tag

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{SCHEME}{self.host}/{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


def is_reference(text: str) -> bool:
    return text.startswith(SCHEME)
