"""What follows the configuration while the service runs: the store, the spool's folder, the origins' guard."""

import asyncio
import os
import ssl
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cephstorage.bootstrap.adapters import ceph_config, ceph_store
from cephstorage.bootstrap.settings import Settings
from cephstorage.bootstrap.spools import note_spool
from cephstorage.domain.configuration import Values, missing_for_ceph
from cephstorage.domain.errors import CephStorageError, SettingUntenable
from cephstorage.domain.names import BucketName
from cephstorage.files import make_private_directory
from cephstorage.origin.own_parts import Endpoint, OwnParts
from cephstorage.store.ceph import CephStore
from cephstorage.store.live import LiveStore
from cephstorage.transfer.spools import SpoolDirectory

PROBE_TIMEOUT = 15.0
"""Seconds that a new gateway has to answer before it is stored."""
PROBE = BucketName("cephstorage", "probe")
"""A bucket that is asked for and never made."""
_USUAL_PORTS = {"http": 80, "https": 443}
_STORE = frozenset({"ceph_gateway", "ceph_access_key", "ceph_secret_key", "ceph_region", "ceph_ca_file"})
_STORE_AND_PUBLIC = _STORE | {"ceph_public_address"}


class Live:
    """A ``Follower`` of the configuration. ``store`` None: objects lie on disk, and nothing changes that."""

    def __init__(
        self,
        settings: Settings,
        store: LiveStore | None,
        spools: SpoolDirectory,
        parts: OwnParts,
        database: Sequence[Endpoint],
        mirror_hosts: Callable[[], Collection[str]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._spools = spools
        self._parts = parts
        self._database = database
        self._mirror_hosts = mirror_hosts
        self._stored_with: dict[str, str] | None = None

    async def try_out(self, values: Values, changed: frozenset[str], *, ask: bool) -> str | None:
        """Try what this machine can tell, then (``ask``) the gateway. Raises SettingUntenable."""
        if "public_address" in changed:
            self._try_public_address(values["public_address"])
        if "download_path" in changed:
            await asyncio.to_thread(_prove_writable, self._spool_dir(values))
        if "ceph_ca_file" in changed and values["ceph_ca_file"]:
            await asyncio.to_thread(_prove_bundle, values["ceph_ca_file"])
        if self._store is None or not changed & _STORE or missing_for_ceph(values):
            return None
        return await self._ask_gateway(values, sorted(changed & _STORE)) if ask else None

    def _try_public_address(self, address: str) -> None:
        host = urlsplit(address).hostname
        if host in self._mirror_hosts():
            raise SettingUntenable(f"public_address: {host} is the host of a mirror; the service needs one of its own.")

    async def _ask_gateway(self, values: Values, names: Iterable[str]) -> str:
        store = CephStore(ceph_config(values, self._settings.ceph))
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                await store.try_name(PROBE)
                return await store.check()
        except (CephStorageError, TimeoutError) as error:
            why = error.msg if isinstance(error, CephStorageError) else f"no answer in {PROBE_TIMEOUT:.0f} s."
            raise SettingUntenable(f"{', '.join(names)}: the object store does not work with this: {why}") from error
        finally:
            await store.close()

    async def prepare(self, values: Values) -> Callable[[], None]:
        """Make everything ready; the result puts it in place at once. Raises SettingUntenable."""
        use_spool = await self._prepared_spool(values)
        inner = [*self._database, *_endpoints(values["ceph_gateway"], *self._settings.edge.purge)]
        public = _endpoints(values["public_address"], values["ceph_public_address"])
        await self._parts.look_up(inner)
        use_store = self._prepared_store(values)

        def put_in_place() -> None:
            self._parts.refuse(inner, public)
            use_spool()
            use_store()

        return put_in_place

    async def _prepared_spool(self, values: Values) -> Callable[[], None]:
        folder = self._spool_dir(values)
        if folder == self._spools.folder:
            return lambda: None
        await asyncio.to_thread(_prove_writable, folder)
        try:
            await asyncio.to_thread(note_spool, self._settings, folder)
        except OSError as error:
            where = self._settings.spool_list
            raise SettingUntenable(f"download_path: it can't be noted in {where}: {error.strerror}.") from error
        return lambda: self._spools.use(folder)

    def _spool_dir(self, values: Values) -> Path:
        path = values["download_path"]
        return (Path(path) if path else self._settings.default_spool_dir).absolute()

    def _prepared_store(self, values: Values) -> Callable[[], None]:
        wanted = {name: values[name] for name in _STORE_AND_PUBLIC}
        if self._store is None or wanted == self._stored_with:
            return lambda: None
        live, missing = self._store, missing_for_ceph(values)
        made = None if missing else ceph_store(values, self._settings.ceph)

        def use() -> None:
            self._stored_with = wanted
            if made is None:
                live.lack(f"Ceph is not configured: set {', '.join(missing)} ('cephstorage config set', PUT /config).")
            else:
                live.use(made)

        return use


def _endpoints(*addresses: str) -> list[Endpoint]:
    """Hosts and ports of the addresses that are set."""
    found = [urlsplit(address) for address in addresses if address]
    return [(parts.hostname or "", parts.port or _USUAL_PORTS.get(parts.scheme, 80)) for parts in found]


def _prove_writable(folder: Path) -> None:
    probe = folder / f".probe.{os.getpid()}"
    try:
        make_private_directory(folder)
        probe.write_bytes(b"ok")
        probe.unlink()
    except OSError as error:
        raise SettingUntenable(f"download_path: {folder} can't be written: {error.strerror}.") from error


def _prove_bundle(file: str) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise SettingUntenable(f"ceph_ca_file: {file} holds no certificates that can be read.") from error
