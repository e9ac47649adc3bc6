"""The ledger's one table: a row a key, first a claim, then what was paid for.

kind, digest   name the row; the digest is the SHA-256 of the key's canonical JSON
key            that JSON: everything that decides the result
value          the result as JSON; NULL while somebody works on it
owner          who does
expires        until when, in Unix seconds, unless its heart beats again
paid           when the value came
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.parse import unquote

import sqlalchemy as sa
from edgetran_protos.errors import UsageError
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

URLS = "write it like sqlite:///folder/ledger.db or postgresql://user@host/name"
BUSY_S = 60.0  # that SQLite waits for another's writing
METADATA = sa.MetaData()
EVALUATIONS = sa.Table(
    "edgetran_evaluations",
    METADATA,
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("value", sa.Text),
    sa.Column("owner", sa.String(255)),
    sa.Column("expires", sa.Double),
    sa.Column("paid", sa.Double),
)


def connect(url: str) -> sa.Engine:
    """Makes the table where there is none. Raises UsageError."""
    with told(url):
        parsed = sa.make_url(url)
        options = {"timeout": BUSY_S} if parsed.get_backend_name() == "sqlite" else {}
        engine = sa.create_engine(
            parsed, connect_args=options, pool_pre_ping=True, pool_recycle=1800
        )
        _create(engine)
    return engine


def _create(engine: sa.Engine) -> None:
    """Several may come at once: who is second finds the table."""
    try:
        METADATA.create_all(engine)
    except SQLAlchemyError:
        if not sa.inspect(engine).has_table(EVALUATIONS.name):
            raise


def now_s(connection: sa.Connection) -> float:
    """By the database's clock where several hosts ask it, since theirs may differ."""
    if connection.dialect.name == "postgresql":
        moment = sa.func.extract("epoch", sa.func.clock_timestamp())
        return float(connection.execute(sa.select(moment)).scalar_one())
    julian = connection.execute(sa.select(sa.func.julianday("now"))).scalar_one()
    return (float(julian) - UNIX_EPOCH_JULIAN) * SECONDS_A_DAY


UNIX_EPOCH_JULIAN = 2_440_587.5
SECONDS_A_DAY = 86_400.0


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """Errors of databases and their drivers, as the user's."""
    shown = without_password(url)
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ImportError) as exc:
        missing = "psycopg" in str(exc)
        raise UsageError(
            f"{shown} is no storage that can be used: {exc}",
            hint="pip install 'edgetran-host[postgresql]'" if missing else URLS,
        ) from exc
    except SQLAlchemyError as exc:
        cause = str(exc.__cause__ or exc).splitlines()[0]
        raise UsageError(
            f"the storage {shown} does not answer: {cause}",
            hint="check it, then give the same command again; what was paid for is kept",
        ) from exc


def without_password(url: str) -> str:
    try:
        return unquote(sa.make_url(url).render_as_string(hide_password=True))
    except ArgumentError:
        return url
