"""Findings: one row for a key that is not as it should be."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select, update

from cephstorage.domain.findings import Done, Finding, FindingKind, FindingQuery
from cephstorage.domain.names import BucketName
from cephstorage.index.leases import text
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema


class FindingStatements:
    """Statements over findings."""

    def __init__(self, schema: Schema) -> None:
        self._table = findings = schema.findings
        c = findings.c
        one = (c.bucket == bindparam("in_bucket")) & (c.key == bindparam("of_key"))
        self._one = select(findings).where(one)
        self._add = insert(findings)
        self._change = update(findings).where(one)
        self._drop = delete(findings).where(one)
        self._held = select(func.count()).select_from(findings).where(c.bucket == bindparam("in_bucket"))
        self._oldest = (
            select(findings).where(c.seen_at < bindparam("before")).order_by(c.seen_at).limit(bindparam("most"))
        )
        self._counts = select(c.kind, func.count()).group_by(c.kind)
        self._counts_of = self._counts.where(c.bucket == bindparam("in_bucket"))

    def keep(self, conn: Connection, finding: Finding, most: int) -> bool:
        """See ``FindingTable.keep``."""
        one = _one(finding.bucket, finding.key)
        values = {
            "kind": finding.kind.value,
            "code": finding.code,
            "done": finding.done.value,
            "detail": text(finding.detail),
            "seen_at": finding.seen_at,
            "bytes_of": finding.bytes_of,
        }
        if conn.execute(self._change, {**one, **values}).rowcount:
            return True
        if (conn.scalar(self._held, {"in_bucket": str(finding.bucket)}) or 0) >= most:
            return False
        conn.execute(self._add, {**values, "bucket": str(finding.bucket), "key": finding.key, "since": finding.since})
        return True

    def get(self, conn: Connection, bucket: BucketName, key: str) -> Finding | None:
        """See ``FindingTable.get``."""
        row = conn.execute(self._one, _one(bucket, key)).first()
        return None if row is None else _finding(row)

    def mended(self, conn: Connection, bucket: BucketName, key: str) -> bool:
        """See ``FindingTable.mended``."""
        return conn.execute(self._drop, _one(bucket, key)).rowcount > 0

    def listing(self, conn: Connection, query: FindingQuery) -> list[Finding]:
        """See ``FindingTable.listing``."""
        c, (bucket, key) = self._table.c, query.after
        asked = select(self._table).where(or_(c.bucket > bucket, (c.bucket == bucket) & (c.key > key)))
        if query.bucket is not None:
            asked = asked.where(c.bucket == str(query.bucket))
        if query.kind is not None:
            asked = asked.where(c.kind == query.kind.value)
        return [_finding(row) for row in conn.execute(asked.order_by(c.bucket, c.key).limit(query.limit))]

    def oldest(self, conn: Connection, before: float, limit: int) -> list[Finding]:
        """See ``FindingTable.oldest``."""
        return [_finding(row) for row in conn.execute(self._oldest, {"before": before, "most": limit})]

    def counts(self, conn: Connection, bucket: BucketName | None) -> dict[str, int]:
        """See ``FindingTable.counts``."""
        counted = (
            conn.execute(self._counts) if bucket is None else conn.execute(self._counts_of, {"in_bucket": str(bucket)})
        )
        return {row.kind: row[1] for row in counted}


def _one(bucket: BucketName, key: str) -> dict[str, Any]:
    return {"in_bucket": str(bucket), "of_key": key}


def _finding(row: Row[Any]) -> Finding:
    return Finding(
        BucketName.parse(row.bucket),
        row.key,
        FindingKind(row.kind),
        row.code,
        Done(row.done),
        row.detail,
        row.since,
        row.seen_at,
        row.bytes_of or "",
    )


class SqlFindingTable:
    """``FindingTable`` in SQL."""

    def __init__(self, db: Runner, statements: FindingStatements) -> None:
        self._db = db
        self._sql = statements

    async def keep(self, finding: Finding, most: int) -> bool:
        """Note a finding."""
        return await self._db.write(self._sql.keep, finding, most)

    async def get(self, bucket: BucketName, key: str) -> Finding | None:
        """The finding of a key."""
        return await self._db.read_one(self._sql.get, bucket, key)

    async def mended(self, bucket: BucketName, key: str) -> bool:
        """Forget the finding of a key."""
        return await self._db.write_relaxed(self._sql.mended, bucket, key)

    async def listing(self, query: FindingQuery) -> Sequence[Finding]:
        """Findings by bucket and key."""
        return await self._db.read_one(self._sql.listing, query)

    async def oldest(self, before: float, limit: int) -> Sequence[Finding]:
        """Those that were looked at longest ago."""
        return await self._db.read_one(self._sql.oldest, before, limit)

    async def counts(self, bucket: BucketName | None = None) -> Mapping[str, int]:
        """How many there are, by kind."""
        return await self._db.read_one(self._sql.counts, bucket)
