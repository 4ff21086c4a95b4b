"""A service that is killed again and again, and everything that can be seen of it from outside: HTTP, database, store."""

import contextlib
import hashlib
import http.client
import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, Table, create_engine, select

from cephstorage.domain.records import attempt_of
from cephstorage.index.schema import build_schema
from tests.harness.ceph import Ceph
from tests.harness.content import MIB
from tests.harness.crashing import HOLD, held_file
from tests.harness.patience import until
from tests.harness.s3 import Bystander
from tests.harness.service import Reply, Service

T = TypeVar("T")

LEDGER, LANDING = "cephstorage.index.ledger:SqlTransferLedger", "cephstorage.index.landing:SqlLandingIndex"
KEYS, SPOOLS = "cephstorage.index.keys:SqlKeyIndex", "cephstorage.transfer.spools:SpoolDirectory"
_DISK, S3 = "cephstorage.store.disk:DiskStore", "cephstorage.store.ceph.s3:S3"
POINTS = (
    f"{LEDGER}.create/after",
    f"{LEDGER}.begin_upload/before",
    f"{LEDGER}.begin_upload/after",
    f"{LEDGER}.set_phase/after",
    f"{LEDGER}.requeue/before",
    f"{LANDING}.plan/before",
    f"{LANDING}.plan/after",
    f"{LANDING}.publish/before",
    f"{LANDING}.publish/after",
    f"{LANDING}.removed/before",
    f"{LANDING}.note_version/after",
    f"{KEYS}.delete/before",
    f"{KEYS}.delete/after",
    f"{SPOOLS}.remove/before",
)
CONSISTENCY = "cephstorage.index.consistency:SqlConsistency"
HELD = (f"{CONSISTENCY}.adopt/before", f"{CONSISTENCY}.drop/before")
"""Points where nobody dies, but some are overtaken."""
DISK_POINTS = (f"{_DISK}._commit/before", "cephstorage.store.disk:move_durably/before", f"{_DISK}.delete/before")
CEPH_POINTS = (
    f"{S3}.put/before",
    f"{S3}.put/after",
    f"{S3}.copy/before",
    f"{S3}.copy/after",
    f"{S3}.begin_upload/after",
    f"{S3}.put_part/after",
    f"{S3}.complete/before",
    f"{S3}.complete/after",
)
_WRITING, _PARTS = "cephstorage.store.ceph.writing", "cephstorage.store.ceph.parts"
SIZES = f"{_WRITING}:WHOLE={MIB} {_WRITING}:COPIED_WHOLE={MIB} {_WRITING}:COPIED_PART={MIB} {_PARTS}:LEAST_PART={MIB}"
"""On Ceph, what is larger than a mebibyte comes in parts of one, sent or copied."""

_CONTENTION = (
    "CREATE SEQUENCE contention MINVALUE -2 START 1",
    """CREATE FUNCTION contend() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE turn bigint := nextval('public.contention');
    BEGIN
        IF turn < 0 THEN RAISE SQLSTATE '40001'; END IF;
        IF turn = 0 THEN RAISE SQLSTATE '40P01'; END IF;
        RETURN NULL;
    END $$""",
)
"""Races that are lost as they are told of: a serialization failure, and a deadlock. No transaction takes a turn back."""


def _contended(table: Table) -> str:
    name = f'"{table.schema}"."{table.name}"'
    return f"CREATE TRIGGER contend BEFORE INSERT OR UPDATE OR DELETE ON {name} EXECUTE FUNCTION contend()"


class Died(Exception):
    """The service was killed before it answered; it runs again."""


@dataclass(frozen=True)
class Snapshot:
    """A bucket as one transaction of the database sees it. ``bucket``: its own row; ``trash``: rows, as they are."""

    at: float
    bucket: Any
    records: dict[str, Any]
    trash: list[Any]
    transfers: dict[str, Any]
    idempotency: dict[str, str]
    named: set[str]
    removals: int
    deletions: dict[str, str]

    @property
    def living(self) -> dict[str, Any]:
        """The records whose time is not over."""
        return {key: row for key, row in self.records.items() if row.expires_at is None or row.expires_at > self.at}

    @property
    def restorable(self) -> list[Any]:
        """The rows of the trash that are not to be swept."""
        return [row for row in self.trash if row.due_at > self.at]

    @property
    def taken(self) -> tuple[int, int]:
        """Bytes and keys that count for a quota."""
        return self.bucket.size + self.bucket.trash_size, self.bucket.keyamount + self.bucket.trash_keys

    @property
    def moving(self) -> bool:
        """Whether a transfer, or a deletion of many keys, is in progress."""
        return "inprogress" in {row.state for row in self.transfers.values()} | set(self.deletions.values())

    @property
    def ageing(self) -> bool:
        """Whether lives have yet to be ended, or new rules to be applied."""
        return len(self.living) < len(self.records) or len(self.restorable) < len(self.trash) or self.behind

    @property
    def behind(self) -> bool:
        """Whether keys have yet to be given the moments that follow from new rules."""
        return self.bucket.rules_place is not None


class Installation:
    """The service, on one data folder, and direct views of its database and its store."""

    def __init__(self, folder: Path, node: Ceph | None = None, **settings: str) -> None:
        self._armed = folder / "armed"
        self.points = POINTS + (CEPH_POINTS if node is not None else DISK_POINTS)
        self.service = Service(
            folder / "data",
            **settings,
            crash_at=" ".join((*self.points, *HELD)),
            crash_armed=str(self._armed),
            crash_sizes=SIZES,
        )
        self.service.module = "tests.harness.crashing"
        self.deaths = 0
        self.between_lives: list[Callable[[], object]] = []
        """What happens before the next start."""
        self.spools_are_ours = node is None
        """Whether spool, store and removals come to rest soon: on Ceph, removals have a grace."""
        self._node = node
        self._seen: Bystander | None = None
        self._stored_by: dict[str, str] = {}
        self._connection: http.client.HTTPConnection | None = None
        self._databases: Engine | None = None

    # -- life

    def start(self) -> "Installation":
        self.service.start()
        url = self.service.settings.get("database_url", "")
        if url:
            self._databases = create_engine(
                url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="REPEATABLE READ"
            )
        else:
            self._databases = create_engine(f"sqlite:///{self.service.data_dir / 'cephstorage.db'}")
        self._schema = build_schema(separate_schemas=bool(url))
        if url:
            self._change(*_CONTENTION, *(_contended(table) for table in (self._schema.keys, self._schema.transfers)))
        return self

    def contend(self) -> None:
        """On PostgreSQL, have the next two statements that write records or transfers lose races."""
        if "database_url" in self.service.settings:
            self._change("SELECT setval('contention', -2)")

    def _change(self, *statements: str) -> None:
        assert self._databases is not None
        with self._databases.begin() as conn:
            for statement in statements:
                conn.exec_driver_sql(statement)

    def stop(self) -> None:
        self.disarm()
        self._hang_up()
        if self._seen is not None:
            self._seen.close()
        if self._databases is not None:
            self._databases.dispose()
        self.service.stop()

    def arm(self, point: str) -> None:
        """Be killed at this point, whenever something comes to it; an empty file would stand for all of them."""
        written = self._armed.with_suffix(".new")
        written.write_text(point)
        written.replace(self._armed)

    @contextlib.contextmanager
    def held_at(self, point: str, deed: Callable[[], T]) -> Iterator["Future[T]"]:
        """Do something beside the test; within, it has come to this point and waits there, or has ended without that."""
        held = held_file(self._armed)
        held.unlink(missing_ok=True)
        self.arm(f"{HOLD} {point}")
        with ThreadPoolExecutor(1) as beside:
            doing = beside.submit(deed)
            try:
                until(lambda: held.exists() or doing.done())
                if not held.exists():
                    self.disarm()
                yield doing
            finally:
                self.disarm()

    def disarm(self) -> None:
        self._armed.unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9, and start again."""
        self.service.kill()
        self._begin_again()

    def restart(self) -> None:
        """SIGTERM, and start again; it may be killed at its point meanwhile."""
        assert self.service.stop() in {0, -signal.SIGKILL}
        self._begin_again()

    def _begin_again(self) -> None:
        self.deaths += 1
        self.disarm()
        self._hang_up()
        while self.between_lives:
            self.between_lives.pop()()
        self.service.start()

    # -- HTTP

    def call(self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        """One request. Raises Died."""
        try:
            return self._asked(method, target, body, headers or {})
        except (OSError, http.client.HTTPException):
            assert self.service.wait() == -signal.SIGKILL, self.service.log()[-5000:]
            self._begin_again()
            raise Died from None

    def ask(self, target: str) -> Reply:
        """A question, which can be asked again when the answer is lost."""
        while True:
            with contextlib.suppress(Died):
                return self.call("GET", target)

    def json(self, method: str, target: str, content: Any = None, headers: dict[str, str] | None = None) -> Any:
        """A request that must succeed."""
        body = None if content is None else json.dumps(content).encode()
        reply = self.call(method, target, body, {"Content-Type": "application/json", **(headers or {})})
        assert reply.status < 300, (method, target, reply.status, reply.body)
        return reply.json()

    def _asked(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)
        sent = {"Authorization": f"Bearer {self.service.admin_token}", **headers}
        self._connection.request(method, target, body, {name: value for name, value in sent.items() if value})
        answer = self._connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- database

    def snapshot(self, bucket: str) -> Snapshot:
        """What the database says of a bucket (full name) at one moment."""
        s, at = self._schema, time.time()
        assert self._databases is not None
        with self._databases.connect() as conn:
            if conn.dialect.name == "sqlite":
                conn.exec_driver_sql("BEGIN")

            def rows(table: Any) -> list[Any]:
                return list(conn.execute(select(table).where(table.c.bucket == bucket)))

            own = conn.execute(select(s.buckets).where(s.buckets.c.name == bucket)).one()
            records, transfers, removals, trash = map(rows, (s.keys, s.transfers, s.removals, s.trash))
            ids = [row.id for row in transfers]
            known = select(s.idempotency).where(s.idempotency.c.transfer_id.in_(ids))
            plans = [json.loads(row.plan)["store_version"] for row in transfers if row.plan and not row.ended_at]
            named = [row.store_version for row in (*records, *removals, *trash)]
            return Snapshot(
                at,
                own,
                {row.key: row for row in records},
                trash,
                {row.token: row for row in transfers},
                {row.key: row.transfer_id for row in conn.execute(known)},
                {attempt_of(name) for name in (*named, *plans)},
                len(removals),
                {row.id: row.state for row in rows(s.deletions)},
            )

    # -- store

    def stored(self, bucket: str) -> set[str]:
        """The attempts of which the store holds bytes for the bucket."""
        if self._node is not None:
            return set(self._attempts(self._node, bucket))
        return {name.partition(".")[2] for name in self.files(bucket) if not name.endswith(".json")}

    def files(self, bucket: str) -> set[str]:
        """The names of the files of a bucket on disk."""
        folder = self.service.data_dir / "objects" / bucket
        return {path.name for path in folder.rglob("*") if path.is_file()}

    def spooled(self) -> list[str]:
        """What lies in the spool."""
        return [path.name for path in (self.service.data_dir / "spool").glob("*")]

    def bystander(self, bucket: str) -> Bystander | None:
        """Another S3 client, where there is an S3 store."""
        return self._bystander(self._node, bucket) if self._node is not None else None

    def lose_spools(self) -> None:
        """As when a machine does not come back, and another one goes on."""
        for path in (self.service.data_dir / "spool").glob("*"):
            path.unlink()

    def _attempts(self, node: Ceph, bucket: str) -> Iterator[str]:
        """The attempts that have stored the versions of a bucket, as these say themselves; what is going is nobody's."""
        seen = self._bystander(node, bucket)
        for key, version in seen.versions():
            if version not in self._stored_by:
                with contextlib.suppress(seen.client.exceptions.ClientError):
                    head = seen.client.head_object(Bucket=bucket, Key=key, VersionId=version)
                    self._stored_by[version] = head["Metadata"].get("attempt", "")
            if self._stored_by.get(version):
                yield self._stored_by[version]

    def _bystander(self, node: Ceph, bucket: str) -> Bystander:
        if self._seen is None:
            settings = self.service.settings
            self._seen = Bystander(node, bucket, settings["ceph_access_key"], settings["ceph_secret_key"])
        self._seen.bucket = bucket
        return self._seen


def md5(body: bytes) -> str:
    """Hex md5, computed here and not by the service."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
