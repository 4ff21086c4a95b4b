"""Quotas in SQL: limits, what transfers hold of them, and the check with which a change of the usage ends.

What lies in the trash counts as what is visible does. What a transfer holds stands in its own row and counts while
that is in progress under a live lease. So whatever ends the transfer, or its owner, gives it back, and nothing is ever
to be repaired.

A database server locks the bucket's row first, then its tenant's, and the sums are read by later statements: they
see what was committed by whoever held the locks before (READ COMMITTED; PostgreSQL manual, 13.2.1).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, exists, func, not_, or_, select, update
from sqlalchemy.sql.functions import coalesce

from cephstorage.domain.errors import BucketNotFound, TenantNotFound
from cephstorage.domain.names import BucketName
from cephstorage.domain.quotas import Account, Amount, Quota, difference, granted, require_room
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import reserving

_LISTED = 1000


def bounded(schema: Schema) -> ColumnElement[bool]:
    """Whether a row of the buckets is under any quota, its own or its tenant's."""
    c, t = schema.buckets.c, schema.tenants.c
    return or_(
        _limited(schema.buckets), exists(select(t.username).where(t.username == c.username, _limited(schema.tenants)))
    )


def _limited(table: Table) -> ColumnElement[bool]:
    return or_(table.c.quota_size.is_not(None), table.c.quota_keyamount.is_not(None))


class QuotaStatements:
    """Statements over quotas. Whoever calls ``room`` or ``check`` locks the bucket's row with it."""

    def __init__(self, schema: Schema) -> None:
        buckets, tenants, transfers, keys = schema.buckets, schema.tenants, schema.transfers, schema.keys
        b, t, c = buckets.c, tenants.c, transfers.c
        self._buckets, self._tenants = buckets, tenants
        this = b.name == bindparam("in_bucket")
        own = t.username == bindparam("of_tenant")
        self._bounded = select(bounded(schema)).where(this)
        self._bucket = select(buckets).where(this)
        self._lock_bucket = self._bucket.with_for_update(key_share=True)
        self._tenant = select(tenants).where(own)
        self._lock_tenant = self._tenant.with_for_update(key_share=True)
        sums = (coalesce(func.sum(b.size + b.trash_size), 0), coalesce(func.sum(b.keyamount + b.trash_keys), 0))
        self._stored = select(*sums).where(b.username == bindparam("of_tenant"))
        self._held = select(coalesce(func.sum(c.reserved_size), 0), coalesce(func.sum(c.reserved_keys), 0)).where(
            reserving(transfers),
            c.bucket >= bindparam("low"),
            c.bucket <= bindparam("high"),
            c.owner.is_not(None),
            c.lease_until > bindparam("now"),
            c.id != bindparam("but"),
        )
        into_trash = b.trash_days.is_not(None) & (b.trash_overwritten != 0) & keys.c.origin.is_(None)
        self._replaced = (
            select(keys.c.size)
            .join(buckets, b.name == keys.c.bucket)
            .where(keys.c.bucket == bindparam("in_bucket"), keys.c.key == bindparam("of_key"), not_(into_trash))
        )
        self._set_bucket = update(buckets).where(this)
        self._set_tenant = update(tenants).where(own)
        self._limited_tenants = select(t.username).where(_limited(tenants)).order_by(t.username).limit(_LISTED)
        self._limited_buckets = select(b.name).where(_limited(buckets)).order_by(b.name).limit(_LISTED)

    def bounded(self, conn: Connection, bucket: BucketName) -> bool:
        """See ``TransferLedger.bounded``."""
        return bool(conn.scalar(self._bounded, {"in_bucket": str(bucket)}))

    def check(self, conn: Connection, bucket: BucketName, more: Amount) -> None:
        """Raise QuotaExceeded if ``more``, which the usage has in it already, did not fit."""
        for account in self._accounts(conn, bucket):
            require_room([replace(account, used=account.used - more)], more)

    def room(
        self, conn: Connection, bucket: BucketName, key: str, size: int, wish: int, now: float, transfer_id: str
    ) -> tuple[Amount, int]:
        """What a transfer may reserve for an object of ``size`` bytes at least; and the size that this is enough for.

        ``wish``: a size that it may come to. Raises BucketNotFound, QuotaExceeded.
        """
        accounts = [self._with_reserved(conn, each, now, transfer_id) for each in self._accounts(conn, bucket)]
        replaced = conn.scalar(self._replaced, {"in_bucket": str(bucket), "of_key": key})
        amount = granted(accounts, difference(size, replaced), wish - (replaced or 0))
        return amount, amount.size + (replaced or 0)

    def _accounts(self, conn: Connection, bucket: BucketName) -> Iterator[Account]:
        """The accounts that bound a bucket, each locked."""
        row = self._row(conn, self._lock_bucket, bucket)
        if (quota := _quota(row)).bounds:
            yield _bucket_account(row, quota)
        owner = {"of_tenant": bucket.username}
        if _quota(conn.execute(self._tenant, owner).one()).bounds:
            yield self._tenant_account(conn, conn.execute(self._lock_tenant, owner).one())

    def _row(self, conn: Connection, statement: Any, bucket: BucketName) -> Row[Any]:
        row = conn.execute(statement, {"in_bucket": str(bucket)}).first()
        if row is None:
            raise BucketNotFound(f"There is no bucket {bucket}.")
        found: Row[Any] = row
        return found

    def _tenant_account(self, conn: Connection, row: Row[Any]) -> Account:
        size, keys = conn.execute(self._stored, {"of_tenant": row.username}).one()
        return Account(row.username, None, _quota(row), Amount(int(size), int(keys)))

    def _with_reserved(self, conn: Connection, account: Account, now: float, but: str = "") -> Account:
        """The account with what transfers hold of it, except for one."""
        low, high = _names(account)
        size, keys = conn.execute(self._held, {"low": low, "high": high, "now": now, "but": but}).one()
        return replace(account, reserved=Amount(int(size), int(keys)))

    def set_bucket(self, conn: Connection, bucket: BucketName, quota: Quota) -> None:
        """See ``QuotaTable.set_bucket``."""
        if conn.execute(self._set_bucket, {"in_bucket": str(bucket), **_values(quota)}).rowcount == 0:
            raise BucketNotFound(f"There is no bucket {bucket}.")

    def set_tenant(self, conn: Connection, username: str, quota: Quota) -> None:
        """See ``QuotaTable.set_tenant``."""
        if conn.execute(self._set_tenant, {"of_tenant": username, **_values(quota)}).rowcount == 0:
            raise _no_tenant(username)

    def of_bucket(self, conn: Connection, bucket: BucketName, now: float) -> Account:
        """See ``QuotaTable.of_bucket``."""
        row = self._row(conn, self._bucket, bucket)
        return self._with_reserved(conn, _bucket_account(row, _quota(row)), now)

    def of_tenant(self, conn: Connection, username: str, now: float) -> Account:
        """See ``QuotaTable.of_tenant``."""
        row = conn.execute(self._tenant, {"of_tenant": username}).first()
        if row is None:
            raise _no_tenant(username)
        return self._with_reserved(conn, self._tenant_account(conn, row), now)

    def all(self, conn: Connection, now: float) -> list[Account]:
        """See ``QuotaTable.all``."""
        tenants = [self.of_tenant(conn, name, now) for name in conn.scalars(self._limited_tenants).all()]
        buckets = [
            self.of_bucket(conn, BucketName.parse(name), now) for name in conn.scalars(self._limited_buckets).all()
        ]
        return [*tenants, *buckets]


def _names(account: Account) -> tuple[str, str]:
    """Between which names the buckets of an account lie, both included. Names are ASCII below ``~``."""
    if account.bucket is not None:
        return str(account.bucket), str(account.bucket)
    return f"{account.username}___", f"{account.username}___~"


def _quota(row: Row[Any]) -> Quota:
    return Quota(row.quota_size, row.quota_keyamount)


def _values(quota: Quota) -> Mapping[str, int | None]:
    return {"quota_size": quota.size, "quota_keyamount": quota.keyamount}


def _bucket_account(row: Row[Any], quota: Quota) -> Account:
    used = Amount(row.size + row.trash_size, row.keyamount + row.trash_keys)
    return Account(row.username, BucketName.parse(row.name), quota, used)


def _no_tenant(username: str) -> TenantNotFound:
    return TenantNotFound(f"There is no tenant {username}; it comes with its first bucket.")


class SqlQuotaTable:
    """``QuotaTable`` in SQL."""

    def __init__(self, db: Runner, statements: QuotaStatements) -> None:
        self._db = db
        self._sql = statements

    async def set_bucket(self, bucket: BucketName, quota: Quota) -> None:
        """Raises BucketNotFound."""
        await self._db.write(self._sql.set_bucket, bucket, quota)

    async def set_tenant(self, username: str, quota: Quota) -> None:
        """Raises TenantNotFound."""
        await self._db.write(self._sql.set_tenant, username, quota)

    async def of_bucket(self, bucket: BucketName, now: float) -> Account:
        """Raises BucketNotFound."""
        return await self._db.read(self._sql.of_bucket, bucket, now)

    async def of_tenant(self, username: str, now: float) -> Account:
        """Raises TenantNotFound."""
        return await self._db.read(self._sql.of_tenant, username, now)

    async def all(self, now: float) -> list[Account]:
        """Every account with a limit."""
        return await self._db.read(self._sql.all, now)
