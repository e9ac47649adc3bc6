"""Names of bundles in registries: what is one, and what is told to be none."""

from __future__ import annotations

import pytest
from edgetran_host.bundling.reference import Reference, is_reference
from edgetran_protos.errors import UsageError

DIGEST = f"sha256:{'0a' * 32}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("oci://localhost/tiny", ("localhost", "tiny", "latest", "")),
        ("oci://registry.local:5000/a/b-c/d__e:7", ("registry.local:5000", "a/b-c/d__e", "7", "")),
        (f"oci://127.0.0.1:5000/tiny@{DIGEST}", ("127.0.0.1:5000", "tiny", "", DIGEST)),
        (f"oci://[::1]:5000/tiny:v1.2_a@{DIGEST}", ("[::1]:5000", "tiny", "v1.2_a", DIGEST)),
    ],
)
def test_parts(text: str, wanted: tuple[str, str, str, str]) -> None:
    found = Reference.parse(text)
    assert (found.host, found.name, found.tag, found.digest) == wanted
    assert Reference.parse(str(found)) == found
    assert found.wanted == (found.digest or found.tag)
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "tiny",
        "oci://tiny",
        "oci://host/Upper",
        "oci://host/a//b",
        "oci://host/../b",
        "oci://host/a:b c",
        "oci://user:word@host/a",
        "oci://host/a@sha256:123",
        "oci://host/a@md5:0",
        "oci://host/a?x=1",
        "",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="names nothing in a registry") as caught:
        Reference.parse(text)
    assert "oci://HOST" in caught.value.hint
