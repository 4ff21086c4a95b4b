"""The engines behind the ports, chosen by the settings: disk or Ceph, SQLite or PostgreSQL."""

from pathlib import Path

from cephstorage.bootstrap.settings import CephSettings, Settings
from cephstorage.domain.configuration import Values
from cephstorage.index import SqlIndex, index_at
from cephstorage.ports.store import Store
from cephstorage.store.ceph import CephConfig, CephStore
from cephstorage.store.disk import DiskStore
from cephstorage.store.live import LiveStore
from cephstorage.store.patient import PatientStore


def make_index(settings: Settings) -> SqlIndex:
    """The index. Raises DatabaseUnavailable when the address of the database is none."""
    return index_at(settings.database_url.get_secret_value(), settings.database_file, **settings.database.model_dump())


def make_store(settings: Settings) -> DiskStore | LiveStore:
    """The store; Ceph is reached only once its access is known (``ceph_store``)."""
    return LiveStore() if settings.store == "ceph" else DiskStore(settings.objects_dir)


def ceph_store(values: Values, settings: CephSettings) -> Store:
    """Ceph with this access; what fails for a moment is tried again."""
    return PatientStore(CephStore(ceph_config(values, settings)))


def ceph_config(values: Values, settings: CephSettings) -> CephConfig:
    """How Ceph is reached with these values of the options, within the limits that the environment sets."""
    return CephConfig(
        values["ceph_gateway"],
        values["ceph_access_key"],
        values["ceph_secret_key"],
        values["ceph_region"],
        values["ceph_public_address"],
        Path(values["ceph_ca_file"]) if values["ceph_ca_file"] else None,
        timeout=settings.timeout,
        connections=settings.connections,
    )
