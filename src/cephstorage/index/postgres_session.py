"""One connection to PostgreSQL, for one thread: how it is made, and a transaction on it."""

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ConnStatus, TransactionStatus
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.index.postgres_faults import unreachable

T = TypeVar("T")

READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_PORT = 5432
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """Where the database is and how long to wait for it. Times in seconds.

    ``url`` may name several hosts (``postgresql://u:p@one,two/db``); the one that writes is taken. A transaction that
    rests for half of ``lock_timeout`` is ended by the server: a process that is stopped with locks in its hands holds
    nobody up for as long as others wait.
    """

    url: str = field(repr=False)
    connections: int = 8
    connect_timeout: float = 5.0
    statement_timeout: float = 15.0
    lock_timeout: float = 10.0
    application_name: str = "CephStorage"

    def endpoints(self) -> list[tuple[str, int]]:
        """Hosts and ports that the address names (libpq's lists); sockets in the file system are none."""
        given = self.parameters()
        hosts = str(given.get("hostaddr") or given.get("host") or "localhost").split(",")
        ports = str(given.get("port") or _PORT).split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        return [(host, int(port or _PORT)) for host, port in zip(hosts, ports, strict=False) if host[:1] not in "/@"]

    def parameters(self) -> dict[str, Any]:
        """The address as psycopg takes it. Raises DatabaseUnavailable without a word of the address."""
        given = None
        with contextlib.suppress(psycopg.Error):  # whose text holds the address, password and all
            given = conninfo_to_dict(self.url.replace("postgresql+psycopg://", "postgresql://", 1))
        if given is None:
            raise DatabaseUnavailable(
                "CEPHSTORAGE_DATABASE_URL is no address of PostgreSQL; "
                "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters percent-encoded."
            )
        return {
            "target_session_attrs": "read-write",
            "application_name": self.application_name,
            "connect_timeout": max(2, round(self.connect_timeout)),
            "tcp_user_timeout": round(1000 * self.statement_timeout),
            **_KEEPALIVE,
            **given,
        }

    @property
    def name(self) -> str:
        """What the log calls the database: everything of its address but user and password."""
        given = self.parameters()
        return f"PostgreSQL at {given.get('host', 'localhost')}:{given.get('port', 5432)}/{given.get('dbname', '')}"


class Dialer:
    """Makes connections whose transactions are ours to begin and end."""

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._parameters = options.parameters()
        self.name = options.name
        # AUTOCOMMIT keeps SQLAlchemy from beginning transactions of its own: BEGIN and COMMIT are the session's.
        self._engine: Engine = create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            use_native_hstore=False,
            hide_parameters=True,
        )

    def _connect(self) -> "psycopg.Connection[Any]":
        connection = psycopg.connect(**self._parameters, autocommit=True)
        limits = {
            "statement_timeout": self._options.statement_timeout,
            "lock_timeout": self._options.lock_timeout,
            "idle_in_transaction_session_timeout": self._options.lock_timeout / 2,
        }
        settings = "; ".join(f"SET {name} = {round(1000 * seconds)}" for name, seconds in limits.items())
        connection.execute(f"{settings}; SET jit = off; SET client_encoding = 'UTF8'; SET timezone = 'UTC'")
        return connection

    def dial(self) -> Connection:
        """A new connection. Raises DatabaseUnavailable."""
        try:
            return self._engine.connect()
        except (SQLAlchemyError, psycopg.Error) as error:
            raise unreachable(error, self.name) from error


class Session:
    """A connection and its transactions. ``born``: the trips of the breaker when it was made."""

    def __init__(self, connection: Connection, born: int) -> None:
        self._connection = connection
        self._raw: psycopg.Connection[Any] = connection.connection.dbapi_connection  # type: ignore[assignment]
        self._cursor = self._raw.cursor()
        self.born = born
        self.used = False
        self.reading = False
        self.committing = False

    def run(self, begin: str, call: Callable[[Connection], T]) -> T:
        """Run ``call`` in a transaction; an empty ``begin``: it is a single statement, which needs none."""
        self.reading, self.committing = begin != WRITE, False
        if not begin:
            result = call(self._connection)
            self.used = True
            return result
        self._say(begin)
        try:
            result = call(self._connection)
        except BaseException:
            self._roll_back()
            raise
        self.committing = not self.reading
        self._say("COMMIT")
        if self._cursor.statusmessage != "COMMIT":
            raise DatabaseUnavailable("The database rolled a transaction back; nothing of it was kept.", retry_after=1)
        self.used = True
        return result

    def may_rest(self, seconds: float) -> None:
        """Let transactions rest for longer than usual."""
        self._say(f"SET idle_in_transaction_session_timeout = {round(1000 * seconds)}")

    def _say(self, command: str) -> None:
        self._cursor.execute(command, prepare=False)

    def _roll_back(self) -> None:
        with contextlib.suppress(psycopg.Error):
            if not self._raw.closed:
                self._say("ROLLBACK")

    @property
    def broken(self) -> bool:
        """Whether the connection is gone, or is left in a transaction."""
        server = self._raw.pgconn
        return server.status != ConnStatus.OK or server.transaction_status != TransactionStatus.IDLE

    def close(self) -> None:
        """Let go of the connection, however it is."""
        with contextlib.suppress(SQLAlchemyError, psycopg.Error):
            self._connection.invalidate()
            self._connection.close()

    def sever(self) -> None:
        """Cut the connection from another thread: whoever waits for its answer waits no longer."""
        with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self._raw.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
