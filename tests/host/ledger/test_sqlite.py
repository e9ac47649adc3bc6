"""The ledger in a file, and what it says of storages that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgetran_host.ledger import Ledger
from edgetran_protos.errors import UsageError

from tests.contracts.ledger_contract import LedgerContract


class TestSQLite(LedgerContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/ledger.db"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "nonsense is no storage that can be used"),
        ("oracledb9://x/y", "is no storage that can be used"),
        ("sqlite:////no/such/folder/ledger.db", "does not answer: unable to open"),
        ("postgresql://u:secret@127.0.0.1:1/x", r"postgresql://u:\*\*\*@127.0.0.1:1/x does not"),
    ],
)
def test_a_storage_that_cannot_be_used(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Ledger(url)
    assert caught.value.hint
    assert "secret" not in str(caught.value)
