"""Where a daemon listens: what it may be told, and what it refuses."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from edgetran_daemon.settings.settings import is_loopback, join, parse_listen
from edgetran_protos.errors import UsageError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:50051", "127.0.0.1", 50051),
        ("127.8.9.1:1", "127.8.9.1", 1),
        ("localhost:0", "localhost", 0),
        ("[::1]:65535", "::1", 65535),
        ("::1:80", "::1", 80),
        ("unix:/run/edgetran.sock", "unix:/run/edgetran.sock", 0),
        ("unix:///run/edgetran.sock", "unix:/run/edgetran.sock", 0),
        ("unix:edgetran.sock", f"unix:{Path.cwd()}/edgetran.sock", 0),
    ],
)
def test_this_machines_own_addresses_need_no_ceremony(text: str, host: str, port: int) -> None:
    assert parse_listen(text, insecure=False) == (host, port)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("0.0.0.0:1", "0.0.0.0"),
        ("192.0.2.7:1", "192.0.2.7"),
        ("[::]:1", "::"),
        ("nano.local:1", "nano.local"),
        ("localhost.example:1", "localhost.example"),
    ],
)
def test_what_others_can_reach_must_be_asked_for(text: str, host: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_listen(text, insecure=False)
    assert "--insecure" in caught.value.hint
    assert parse_listen(text, insecure=True) == (host, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "50051",
        ":50051",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:1.5",
        "127.0.0.1: 1",
        "127.0.0.1:\u00b2",  # a digit to str.isdigit, but not to int
        "127.0.0.1:\u0663",
        "[]:1",
        "127.0.0.1:000000000000001",
        "unix:",
        "unix:/run/a\0b",
        "unix:/" + "x" * 103,
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_listen(text, insecure=True)
    assert caught.value.hint


@given(
    st.text()
    | st.from_regex(r"[0-9a-f.:\[\]]{0,20}:[0-9]{0,6}", fullmatch=True)
    | st.text().map("unix:{}".format)
)
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        host, port = parse_listen(text, insecure=True)
        assert host
        assert 0 <= port <= 65535
        assert parse_listen(join(host, port), insecure=True) == (host, port)


@given(st.ip_addresses(v=4))
def test_loopback_is_what_the_standard_says(address: object) -> None:
    assert is_loopback(str(address)) == str(address).startswith("127.")
