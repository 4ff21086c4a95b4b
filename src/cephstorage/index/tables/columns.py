"""What tables are built of: areas, columns, and conditions of partial indexes.

Times are epoch seconds. Strings compare by bytes: BINARY is SQLite's collation, ``C`` the one for PostgreSQL.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    literal_column,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ColumnElement

from cephstorage.domain.transfers import SERVED, State

TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
WHOLE = BigInteger().with_variant(Integer, "sqlite")
"""64 bits in both; SQLite counts a row's id up only in a column that is called INTEGER."""
QUEUES = {"removals", "purges", "webhook_events"}
"""Worked off by number: no number is given twice, even when the table has been empty."""


class Area:
    """Makes the tables of one area under the names that the database can hold."""

    def __init__(self, metadata: MetaData, name: str, *, separate_schemas: bool) -> None:
        self._metadata = metadata
        self._name = name
        self._separate = separate_schemas

    def full(self, table: str) -> str:
        """The name by which foreign keys refer to a table."""
        return f"{self._name}.{table}" if self._separate else f"{self._name}_{table}"

    def table(self, table: str, *items: Column[Any] | Index | CheckConstraint, **options: Any) -> Table:
        """A table of this area. ``options`` are those of servers."""
        if self._separate:
            return Table(table, self._metadata, *items, schema=self._name, **options)
        return Table(self.full(table), self._metadata, *items, sqlite_autoincrement=table in QUEUES)


def column(name: str, kind: Any = TEXT, *extra: ForeignKey, null: bool = False, key: bool = False) -> Column[Any]:
    """A column; ``key``: of the primary key. Whole numbers that are called ``id`` count themselves up."""
    return Column(name, kind, *extra, nullable=null, primary_key=key, autoincrement=name == "id" and kind is WHOLE)


def whole_from_zero(name: str) -> Column[Any]:
    """A whole number that rows from before this column have as 0."""
    return Column(name, WHOLE, nullable=False, server_default=text("0"))


def quota() -> list[Column[Any]]:
    """The most bytes and keys; null: no limit."""
    return [column("quota_size", WHOLE, null=True), column("quota_keyamount", WHOLE, null=True)]


def word(value: str) -> ColumnElement[str]:
    """A constant written into the statement: partial indexes are only used for conditions known at compile time."""
    return literal_column(f"'{value}'", Text)


def served(kind: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a transfer's kind is one that requests begin; a constant condition, like ``word``."""
    return kind.in_([word(each) for each in SERVED])


def reserving(table: Table) -> ColumnElement[bool]:
    """Whether a transfer holds room of a quota; a constant condition, like ``word``."""
    c = table.c
    return (c.state == word(State.INPROGRESS)) & (c.reserved_size + c.reserved_keys > literal_column("0"))
