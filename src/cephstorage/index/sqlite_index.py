"""The whole index in one SQLite file: every port of ``cephstorage.ports.index`` over one runner."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from cephstorage.index.buckets import BucketStatements, SqlBucketIndex
from cephstorage.index.changes import ChangeStatements
from cephstorage.index.keys import KeyStatements, SqlKeyIndex
from cephstorage.index.landing import LandingStatements, SqlLandingIndex
from cephstorage.index.leases import LeaseStatements
from cephstorage.index.ledger import SqlTransferLedger
from cephstorage.index.listing import ListingStatements
from cephstorage.index.mirrors import MirrorStatements, SqlMirrorTable
from cephstorage.index.purges import PurgeStatements, SqlPurgeOutbox
from cephstorage.index.remembered import RememberedKeys
from cephstorage.index.removals import RemovalStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import SCHEMA_VERSION, Schema, build_schema
from cephstorage.index.settings import SettingStatements, SqlSettingsTable
from cephstorage.index.sqlite import SqliteDatabase
from cephstorage.index.tokens import SqlTokenTable, TokenStatements
from cephstorage.index.transfers import TransferStatements
from cephstorage.ports.index import KeyIndex


class SqlIndex:
    """The ports over any runner and the schema of its database."""

    def __init__(self, db: Runner, schema: Schema) -> None:
        buckets, removals, changes = BucketStatements(schema), RemovalStatements(schema), ChangeStatements(schema)
        purges = PurgeStatements(schema)
        keys = KeyStatements(schema, buckets, removals, purges)
        leases = LeaseStatements(schema, removals)
        self._db = db
        self._bucket_statements = buckets
        self.keys: KeyIndex = SqlKeyIndex(db, keys, ListingStatements(schema))
        self.buckets = SqlBucketIndex(db, buckets)
        self.transfers = SqlTransferLedger(db, TransferStatements(schema, buckets, keys, leases), leases)
        self.landing = SqlLandingIndex(db, LandingStatements(schema, buckets, keys, leases), removals)
        self.mirrors = SqlMirrorTable(db, MirrorStatements(schema, buckets, changes))
        self.purges = SqlPurgeOutbox(db, purges)
        self.tokens = SqlTokenTable(db, TokenStatements(schema, changes))
        self.settings = SqlSettingsTable(db, SettingStatements(schema, changes), changes)

    async def usage_drift(self) -> Sequence[str]:
        """Buckets whose usage differs from the sum over their records. Reads every record."""
        return await self._db.read(self._bucket_statements.drift)


class SqliteIndex(SqlIndex):
    """The index in the file ``path``. Several processes may open one file."""

    def __init__(self, path: Path) -> None:
        schema = build_schema(separate_schemas=False)
        self.database = SqliteDatabase(path, schema)
        super().__init__(self.database, schema)
        self.keys = RememberedKeys(self.keys, self.database.data_version)

    async def open(self) -> None:
        """Create the file if it is missing and begin. Raises DatabaseUnavailable."""
        await self.database.open()

    async def close(self) -> None:
        """Finish what is queued and end. Idempotent."""
        await self.database.close()

    async def check(self) -> str:
        """One line about its health and version for ``doctor``. Raises DatabaseUnavailable."""
        return await self._db.read(_health, self.database.path)


def _health(conn: Connection, path: Path) -> str:
    version = conn.exec_driver_sql("SELECT sqlite_version()").scalar_one()
    journal = conn.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    size = path.stat().st_size / 2**20
    return f"SQLite {version}, journal {journal}, schema {SCHEMA_VERSION}, {size:.1f} MiB"
