"""The index of names on SQLite: FTS5 over trigrams (sqlite.org/fts5.html, sections 4.3.5, 4.4.3 and 4.6).

It keeps no copy of the names (``content=''``) and no positions (``detail=none``): it says which rows have all
trigrams of a text, and the names themselves say the rest. Triggers keep it with the keys, whoever writes them.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from cephstorage.index.names import TRIGRAM, Names
from cephstorage.index.walk import Span

_KEYS, _TABLE = '"CephStorageIndex_keys"', '"CephStorageIndex_names"'
_MAKE = f"""CREATE VIRTUAL TABLE {_TABLE} USING fts5(
    key, content='', contentless_delete=1, detail=none, tokenize='trigram case_sensitive 1')"""
_KEEP = (
    f"""CREATE TRIGGER "CephStorageIndex_named" AFTER INSERT ON {_KEYS} BEGIN
    INSERT INTO {_TABLE} (rowid, key) VALUES (new.rowid, new.key); END""",  # noqa: S608 - names of ours
    f"""CREATE TRIGGER "CephStorageIndex_unnamed" AFTER DELETE ON {_KEYS} BEGIN
    DELETE FROM {_TABLE} WHERE rowid = old.rowid; END""",  # noqa: S608 - names of ours
)
_FILL = f"INSERT INTO {_TABLE} (rowid, key) SELECT rowid, key FROM {_KEYS}"  # noqa: S608 - names of ours
_FIND = (
    f"SELECT k.bucket, k.key FROM (SELECT rowid AS id FROM {_TABLE} WHERE {_TABLE} MATCH ? LIMIT ?) n "  # noqa: S608
    f"LEFT JOIN {_KEYS} k ON k.rowid = n.id"
)
_SAMPLES = f"SELECT rowid, key FROM {_KEYS} WHERE length(key) >= {TRIGRAM} ORDER BY rowid"  # noqa: S608
_HAS = f"SELECT 1 FROM {_TABLE} WHERE {_TABLE} MATCH ? AND rowid = ?"  # noqa: S608


class SqliteNames:
    """``NameIndex`` in FTS5."""

    def can(self, names: Names) -> bool:
        """Whether some text is long enough."""
        return any(len(text) >= TRIGRAM for text in names.given)

    def sifts(self, conn: Connection, span: Span, names: Names) -> bool:  # noqa: ARG002
        """Nobody knows: no sample is kept, and a thousand keys are looked at in less than a millisecond."""
        return False

    def find(self, conn: Connection, span: Span, names: Names, most: int) -> list[str] | None:
        """Every key of a span that holds the texts; None when the file has more than ``most`` candidates."""
        found = conn.exec_driver_sql(_FIND, (_match(names.given), most + 1)).all()
        if len(found) > most:
            return None
        return [key for bucket, key in found if bucket == span.bucket and span.holds(key) and names.match(key)]


def _match(texts: Iterable[str]) -> str:
    """An FTS5 expression for rows with all trigrams of the texts."""
    grams = {text[start : start + TRIGRAM] for text in texts for start in range(len(text) - TRIGRAM + 1)}
    return " AND ".join('"' + gram.replace('"', '""') + '"' for gram in sorted(grams))


def create_names(conn: Connection) -> None:
    """Make the index and the triggers, and take in what keys there are."""
    for statement in (_MAKE, *_KEEP):
        conn.exec_driver_sql(statement)
    conn.exec_driver_sql(_FILL)


def names_are_right(conn: Connection) -> bool:
    """Whether the first and the last key are found where they are.

    The index knows keys by their rowids, which VACUUM may change (sqlite.org/lang_vacuum.html).
    """
    samples = [conn.exec_driver_sql(f"{_SAMPLES}{order} LIMIT 1").first() for order in ("", " DESC")]
    rows = [sample for sample in samples if sample is not None]
    return all(conn.exec_driver_sql(_HAS, (_match([key]), rowid)).first() is not None for rowid, key in rows)


def renew_names(conn: Connection) -> None:
    """Make the index anew from the keys."""
    conn.exec_driver_sql(f"INSERT INTO {_TABLE} ({_TABLE}) VALUES ('delete-all')")  # noqa: S608 - names of ours
    conn.exec_driver_sql(_FILL)
