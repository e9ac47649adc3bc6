"""What every refusal of bad data has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from edgetran_protos.errors import DataError

Refused = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session")
def refused() -> Refused:
    """`with refused(*words)`: a DataError on one line that says the words, with a hint."""

    @contextmanager
    def check(*words: str) -> Iterator[None]:
        with pytest.raises(DataError) as caught:
            yield
        message, hint = str(caught.value), caught.value.hint
        assert "\n" not in message + hint
        assert hint, "an error without a hint"
        for word in words:
            assert word in message + hint, f"{word!r} is not in: {message} ({hint})"

    return check
