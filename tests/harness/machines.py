"""Several machines of one installation, on this one: each has a data folder of its own; database and store are shared."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cephstorage.index import index_at
from tests.harness.ceph import Ceph
from tests.harness.postgres import Postgres
from tests.harness.service import Service, Worker


def make_tables(url: str) -> None:
    """Make the tables that a service finds from its second start on: each start on an empty database costs half a second."""

    async def make() -> None:
        index = index_at(url, Path())
        await index.open()
        await index.close()

    with ThreadPoolExecutor(1) as pool:  # whoever asks first may be in a loop
        pool.submit(lambda: asyncio.run(make())).result()


def shared_engines(postgres: Postgres, ceph: Ceph) -> dict[str, str]:
    """The settings of a new installation: a database of its own, and buckets of its own (an RGW tenant's)."""
    user = ceph.add_user(f"{secrets.token_hex(6)}$cephstorage")
    return {
        "database_url": postgres.prepared(make_tables),
        "secret_key": secrets.token_hex(32),
        "store": "ceph",
        "ceph_gateway": ceph.gateway,
        "ceph_access_key": user.access_key,
        "ceph_secret_key": user.secret_key,
        "log_level": "info",
    }


class Machines:
    """Starts machines below a folder, and stops them all."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._folder = folder
        self._settings = settings
        self._started: list[Service] = []

    def serve(self, name: str, **settings: str) -> Service:
        """A serving machine that the others reach."""
        return self._begin(Service, name, {"advertise": "127.0.0.1:0", **settings})

    def work(self, name: str, **settings: str) -> Service:
        """A worker's machine."""
        return self._begin(Worker, name, settings)

    def _begin(self, kind: type[Service], name: str, settings: dict[str, str]) -> Service:
        machine = kind(self._folder / name, **{**self._settings, **settings})
        self._started.append(machine)
        return machine.start()

    def stop(self) -> None:
        for machine in self._started:
            machine.stop()
