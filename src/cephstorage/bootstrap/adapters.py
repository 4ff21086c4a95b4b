"""The engines behind the ports, chosen by the settings: disk or Ceph, SQLite or PostgreSQL."""

import hashlib
import secrets
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from cephstorage.bootstrap.sections import CephSettings
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.configuration import Values
from cephstorage.files import create_once, make_private_directory
from cephstorage.index import SqlIndex, index_at
from cephstorage.origin.certificates import OriginCertificates
from cephstorage.origin.guard import ConnectGuard
from cephstorage.origin.http import HttpOrigin
from cephstorage.origin.own_parts import OwnParts
from cephstorage.origin.peer import ProcessPeers
from cephstorage.origin.pool import OriginPool
from cephstorage.origin.webhooks import HttpWebhooks
from cephstorage.ports.store import Store
from cephstorage.store.ceph import CephConfig, CephStore
from cephstorage.store.disk import DiskStore
from cephstorage.store.live import LiveStore
from cephstorage.store.patient import PatientStore
from cephstorage.transfer.presence import Presence


@dataclass(frozen=True, slots=True)
class Adapters:
    """The engines behind the ports."""

    index: SqlIndex
    store: DiskStore | LiveStore
    origin: OriginPool
    webhooks: HttpWebhooks
    own_parts: OwnParts
    peers: ProcessPeers
    presence: Presence


def via_name(settings: Settings) -> str:
    """How this installation names itself in Via and CDN-Loop: on all its machines the same, and no other has it.

    Machines of one installation have the secret key in common; a single one has its data folder.
    """
    if keys := settings.secret_keys:
        return f"cephstorage-{hashlib.sha256(b'via ' + keys[0].encode()).hexdigest()[:8]}"
    return instance_name(settings)


def instance_name(settings: Settings) -> str:
    """The name of this data folder: drawn once."""
    make_private_directory(settings.data_dir)
    file = settings.data_dir / "instance-id"
    content = file.read_bytes() if file.exists() else create_once(file, secrets.token_hex(4).encode())
    return f"cephstorage-{content.decode('ascii').strip()}"


def make_adapters(settings: Settings, port: int | None, via: str) -> Adapters:
    """Every engine of a process that listens on ``port`` (None: on none) and names itself ``via``."""
    presence = Presence(settings.data_dir / "run", settings.advertised(port) if port else "")
    guard = ConnectGuard(
        settings.origin.allowed_networks, settings.origin.allowed_ports, {(settings.host, port or settings.port)}
    )
    http = HttpOrigin(
        guard,
        connect_timeout=settings.origin.connect_timeout,
        read_timeout=settings.origin.read_timeout,
        user_agent=f"CephStorage/{metadata.version('cephstorage')}",
        via_name=via,
        limit_per_host=settings.origin.connections_per_host,
        ca_file=settings.origin.ca_file,
    )
    origin = OriginPool(http, OriginCertificates(settings.origin_certificates_dir))
    return Adapters(
        index=make_index(settings),
        store=make_store(settings),
        origin=origin,
        webhooks=HttpWebhooks(http, settings.webhook.timeout),
        own_parts=OwnParts(guard, origin.reconnect),
        peers=ProcessPeers(presence.near),
        presence=presence,
    )


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
