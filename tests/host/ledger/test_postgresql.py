"""The ledger in a PostgreSQL that hosts share."""

from __future__ import annotations

import pytest

from tests.contracts.ledger_contract import LedgerContract
from tests.postgres_server import PostgresServer


@pytest.mark.slow
class TestPostgreSQL(LedgerContract):
    @pytest.fixture
    def url(self, postgres_server: PostgresServer) -> str:
        return postgres_server.fresh_database()
