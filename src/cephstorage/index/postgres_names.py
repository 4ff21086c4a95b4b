"""The index of names on PostgreSQL: GIN over trigrams, of the extension pg_trgm.

The extension is one that the owner of a database may create himself (PostgreSQL manual, F.35: "trusted"), but
the server may lack its files and the role the right. Then there is no index: names are found by walking, a
bounded number a request, and ``doctor`` says what to do.
"""

import math
import re
import time
from collections.abc import Callable
from typing import Any

import structlog
from psycopg import Error as DriverError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from cephstorage.index.names import TRIGRAM, Names
from cephstorage.index.postgres_faults import code_of
from cephstorage.index.rarity import frequent_trigrams, rare_parts
from cephstorage.index.walk import Span

log = structlog.get_logger()

_CANNOT = {"42501", "0A000", "58P01", "22023"}
"""No privilege, not available, its file is missing, no such version (PostgreSQL manual, appendix A)."""
_TIMEOUT = "57014"
_PROBE_MS = 200
_RARE_MS = 50
"""The same for rare parts of the texts: where they alone find too much, the whole texts are tried."""
_KNOWN_FOR = 600.0
"""Seconds for which it is remembered which trigrams are frequent in a bucket; and of how many buckets at most."""
_KNOWN = 1000
_DOUBT = 4
"""By how much the planner may expect more than are wanted: it knows a sample only."""
_WORD = re.compile(rf"[A-Za-z0-9]{{{TRIGRAM},}}")
_NAME = "key || ''"
"""The index is of this expression, not of the column: trigrams find equal texts, too, a hundred times slower than the
primary key does, and planners take them for lists of keys."""
_WHERE = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'pg_trgm'"
_PRESENT = """SELECT to_regclass('"CephStorageIndex".keys_by_name') IS NOT NULL"""
_SAMPLE = """
SELECT histogram_bounds::text::text[] FROM pg_stats WHERE schemaname = 'CephStorageIndex' AND attname = 'key'
   AND tablename = (SELECT relname FROM pg_class
                     WHERE oid = (SELECT tableoid FROM "CephStorageIndex".keys WHERE bucket = %(bucket)s LIMIT 1))
"""
"""Names that ANALYZE drew by chance from the partition that holds a bucket, and has put in order."""
_ALONE = (
    "SAVEPOINT names; SET LOCAL statement_timeout = {}; SET LOCAL plan_cache_mode = force_custom_plan; "
    "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_seqscan = off"
)


class PostgresNames:
    """``NameIndex`` in GIN. ``present``: whether this database has it, as far as ``look`` has seen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.present = False
        self._clock = clock
        self._frequent: dict[str, tuple[float, frozenset[str] | None]] = {}

    def look(self, conn: Connection) -> None:
        """See whether the index is there."""
        self.present = bool(conn.exec_driver_sql(_PRESENT).scalar())

    def can(self, names: Names) -> bool:
        """Whether the index is there and some text has a trigram in every locale: three letters or digits in a row."""
        return self.present and any(_WORD.search(text) for text in names.given)

    def sifts(self, conn: Connection, span: Span, names: Names) -> bool:
        """Whether the texts have rare parts. In a smaller span than the whole bucket all names may have those."""
        if span.low or span.before is not None:
            return False
        frequent = self.frequent(conn, span.bucket)
        return frequent is not None and bool(rare_parts(names, frequent).given)

    def find(self, conn: Connection, span: Span, names: Names, most: int) -> list[str] | None:
        """Every key of a span that holds the texts; None when there are more than ``most``, or it took too long."""
        frequent = self.frequent(conn, span.bucket)
        rare = names if frequent is None else rare_parts(names, frequent)
        helps = rare.given not in {(), names.given}
        found = self._candidates(conn, span, rare, most, _RARE_MS) if helps else None
        if found is None:
            return self._candidates(conn, span, names, most, _PROBE_MS)
        return [key for key in found if names.match(key)]

    def frequent(self, conn: Connection, bucket: str) -> frozenset[str] | None:
        """The trigrams that are frequent where a bucket's names are; None when nothing is known of them yet."""
        seen, frequent = self._frequent.get(bucket, (-math.inf, None))
        if self._clock() - seen > _KNOWN_FOR:
            sample: list[str] | None = conn.exec_driver_sql(_SAMPLE, {"bucket": bucket}).scalar()
            frequent = frequent_trigrams(sample) if sample else None
            if len(self._frequent) >= _KNOWN:
                self._frequent.clear()
            self._frequent[bucket] = self._clock(), frequent
        return frequent

    def _candidates(self, conn: Connection, span: Span, names: Names, most: int, limit: int) -> list[str] | None:
        """What ``find`` finds within ``limit`` milliseconds."""
        conditions = [
            ("bucket = %(bucket)s", "bucket", span.bucket),
            ("key > %(low)s" if span.above else "key >= %(low)s", "low", span.low),
        ]
        if span.before is not None:
            conditions.append(("key < %(before)s", "before", span.before))
        for number, text in enumerate(names.given):
            conditions.append((f"{_NAME} LIKE %(like{number})s", f"like{number}", f"%{_escaped(text)}%"))
        where = " AND ".join(condition for condition, _, _ in conditions)
        asked = f'SELECT key FROM "CephStorageIndex".keys WHERE {where} LIMIT {most + 1}'  # noqa: S608 - values are bound
        conn.exec_driver_sql(_ALONE.format(limit))
        try:
            values = {name: value for _, name, value in conditions}
            found = None
            if _expected(conn, asked, values) <= _DOUBT * most:
                found = list(conn.exec_driver_sql(asked, values).scalars())
        except (DBAPIError, DriverError) as error:
            if code_of(error) != _TIMEOUT:
                raise
            found = None
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT names")  # with the settings
        return found if found is None or len(found) <= most else None


def _expected(conn: Connection, asked: str, values: dict[str, str]) -> float:
    """How many keys the planner expects: what is certainly frequent need not be counted first."""
    plan: Any = conn.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {asked}", values).scalar_one()
    return float(plan[0]["Plan"]["Plans"][0]["Plan Rows"])


def _escaped(text: str) -> str:
    """The text as it stands in a LIKE pattern."""
    return re.sub(r"([%_\\])", r"\\\1", text)


def create_names(conn: Connection) -> bool:
    """Make the index if it can be made; whether it is there now."""
    conn.exec_driver_sql("SAVEPOINT names")
    try:
        conn.exec_driver_sql('CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA "CephStorageIndex"')
        where = conn.exec_driver_sql(_WHERE).scalar_one()
        conn.exec_driver_sql(
            'CREATE INDEX IF NOT EXISTS keys_by_name ON "CephStorageIndex".keys '
            f'USING gin (({_NAME}) "{where}".gin_trgm_ops)'
        )
    except (DBAPIError, DriverError) as error:
        if code_of(error) not in _CANNOT:
            raise
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT names")
        log.warning("search_index_not_made", reason=str(error).splitlines()[0], advice=ADVICE)
        return False
    conn.exec_driver_sql("RELEASE SAVEPOINT names")
    return True


ADVICE = (
    "Let a superuser run: CREATE EXTENSION pg_trgm (Debian: part of postgresql-NN; others: postgresql-contrib), "
    "then run `cephstorage db upgrade`. Until then a search looks at a bounded number of keys a request."
)
