"""Every port of the database over any runner: what SQLite and PostgreSQL have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sqlalchemy import Connection

from cephstorage.index.adoption import AdoptionStatements, SqlAdoption
from cephstorage.index.buckets import BucketStatements, SqlBucketIndex
from cephstorage.index.changes import ChangeStatements
from cephstorage.index.consistency import ConsistencyStatements, SqlConsistency
from cephstorage.index.deletions import DeletionStatements, SqlDeletions
from cephstorage.index.findings import FindingStatements, SqlFindingTable
from cephstorage.index.jobs import JobStatements, SqlJobTable
from cephstorage.index.keys import KeyStatements, SqlKeyIndex
from cephstorage.index.landing import LandingStatements, SqlLandingIndex
from cephstorage.index.leases import LeaseStatements
from cephstorage.index.ledger import SqlTransferLedger
from cephstorage.index.lifecycles import LifecycleStatements, SqlLifecycles, SqlTrash
from cephstorage.index.listing import ListingStatements
from cephstorage.index.mirrors import MirrorStatements, SqlMirrorTable
from cephstorage.index.names import NameIndex
from cephstorage.index.purges import PurgeStatements, SqlPurgeOutbox
from cephstorage.index.quotas import QuotaStatements, SqlQuotaTable
from cephstorage.index.removals import RemovalStatements
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.series import SeriesStatements, SqlSeriesTable
from cephstorage.index.settings import SettingStatements, SqlSettingsTable
from cephstorage.index.tokens import SqlTokenTable, TokenStatements
from cephstorage.index.transfers import TransferStatements
from cephstorage.index.trash import TrashStatements
from cephstorage.index.tree import FolderStatements
from cephstorage.index.walks import SqlWalkTable, WalkStatements
from cephstorage.index.webhook_outbox import OutboxStatements, SqlWebhookOutbox
from cephstorage.index.webhook_tidying import TidyingStatements
from cephstorage.index.webhook_turns import TurnStatements
from cephstorage.index.webhooks import EventStatements, SqlWebhookTable, WebhookStatements
from cephstorage.ports.index import KeyIndex


class SqlIndex(ABC):
    """The ports over any runner and the schema of its database."""

    def __init__(self, db: Runner, schema: Schema, names: NameIndex) -> None:
        buckets, removals, changes = BucketStatements(schema), RemovalStatements(schema), ChangeStatements(schema)
        purges, quotas, events = PurgeStatements(schema), QuotaStatements(schema), EventStatements(schema)
        folders = FolderStatements(schema)
        trash = TrashStatements(schema, buckets, removals)
        keys = KeyStatements(schema, buckets, folders, removals, purges, quotas, trash, events)
        leases = LeaseStatements(schema, removals, events)
        self._db = db
        self._bucket_statements = buckets
        self._folder_statements = folders
        self.listings = ListingStatements(schema, folders, names)
        self.keys: KeyIndex = SqlKeyIndex(db, keys, self.listings, folders)
        self.deletions = SqlDeletions(db, DeletionStatements(schema, buckets, keys))
        self.buckets = SqlBucketIndex(db, buckets)
        self.lifecycles = SqlLifecycles(db, LifecycleStatements(schema, buckets, keys, purges))
        self.trash = SqlTrash(db, trash, keys)
        self.adoption = SqlAdoption(db, AdoptionStatements(schema, buckets, folders, events))
        self.consistency = SqlConsistency(db, ConsistencyStatements(schema, buckets, keys, removals))
        self.findings = SqlFindingTable(db, FindingStatements(schema))
        self.walks = SqlWalkTable(db, WalkStatements(schema))
        self.quotas = SqlQuotaTable(db, quotas)
        self.transfers = SqlTransferLedger(db, TransferStatements(schema, buckets, keys, leases, quotas), leases)
        self.landing = SqlLandingIndex(db, LandingStatements(schema, buckets, keys, leases, trash), removals)
        self.mirrors = SqlMirrorTable(db, MirrorStatements(schema, buckets, changes))
        self.purges = SqlPurgeOutbox(db, purges)
        self.webhooks = SqlWebhookTable(db, WebhookStatements(schema, buckets))
        turns = TurnStatements(schema)
        self.webhook_outbox = SqlWebhookOutbox(db, OutboxStatements(schema, turns), TidyingStatements(schema, turns))
        self.jobs = SqlJobTable(db, JobStatements(schema, buckets, keys, purges))
        self.series = SqlSeriesTable(db, SeriesStatements(schema))
        self.tokens = SqlTokenTable(db, TokenStatements(schema, changes))
        self.settings = SqlSettingsTable(db, SettingStatements(schema, changes), changes)

    async def usage_drift(self) -> Sequence[str]:
        """Buckets whose usage, or that of a folder, differs from the sum over their records. Reads every record."""
        return await self._db.read(self._drift)

    def _drift(self, conn: Connection) -> list[str]:
        return sorted({*self._bucket_statements.drift(conn), *self._folder_statements.drift(conn)})

    def endpoints(self) -> Sequence[tuple[str, int]]:
        """Hosts and ports of a database server; none when there is no network between."""
        return ()

    @abstractmethod
    async def open(self) -> None:
        """Make the database if there is none yet, and begin.

        Raises DatabaseUnavailable; without ``retry_after`` when waiting will not help.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what is queued and end. Idempotent."""

    @abstractmethod
    async def check(self) -> str:
        """One line about its health and version for ``doctor``. Raises DatabaseUnavailable."""
