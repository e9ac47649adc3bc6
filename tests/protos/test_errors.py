"""Errors on their way from one end to the other."""

from __future__ import annotations

import base64

import pytest
from edgetran_protos.errors import HINT_KEY, UnknownModel, from_trailers, to_trailers

CLIENTS_LIMIT_BYTES = 8192  # of all headers together


@pytest.mark.parametrize("hint", ["", "deploy one first", "a" * 20_000, "\N{HUGGING FACE}" * 5000])
def test_a_hint_arrives_as_far_as_headers_have_room(hint: str) -> None:
    trailers = to_trailers(UnknownModel("no model", hint=hint))
    found = from_trailers("no model", trailers)
    assert isinstance(found, UnknownModel)
    assert hint.startswith(found.hint)
    assert found.hint == hint or len(found.hint.encode()) > 2900
    sent = dict(trailers)[HINT_KEY]
    assert isinstance(sent, bytes)
    assert len(base64.b64encode(sent)) < CLIENTS_LIMIT_BYTES / 2
