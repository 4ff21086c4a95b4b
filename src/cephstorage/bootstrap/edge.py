"""The edge's composition root: settings, the shared secret and the certificates on disk become an ``EdgeConfig``."""

import asyncio
import getpass
import grp
import os
import pwd
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from cephstorage.bootstrap import logs
from cephstorage.bootstrap.adapters import make_index
from cephstorage.bootstrap.secret_key import sealed_settings
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.configuration import OPTIONS, Values
from cephstorage.domain.edge import SECRET_SETTING
from cephstorage.domain.errors import InvalidSetting
from cephstorage.edge.access_log import AccessLog
from cephstorage.edge.config import SYSTEM_CAS, Certificate, EdgeConfig, Gateway, Limits
from cephstorage.edge.counting import UsageCounting
from cephstorage.edge.nginx import Folders, complaint_about, is_nginx, write_config
from cephstorage.edge.render import render
from cephstorage.edge.supervisor import PID_FILE, Supervisor, claim
from cephstorage.edge.system import write_system
from cephstorage.files import make_private_directory
from cephstorage.index import SqlIndex

_LAST_COUNT = 5.0
"""Seconds in which the last lines of the log are counted, which may be gone at the next start (/run)."""


def folders(settings: Settings) -> Folders:
    """Where this machine's edge keeps its files. Raises InvalidSetting."""
    run_dir = (settings.edge.run_dir or settings.data_dir / "edge").absolute()
    worker = _worker(settings)
    group = worker.pw_gid if worker is not None and worker.pw_uid else None
    return Folders(run_dir, (settings.edge.cache_dir or run_dir / "cache").absolute(), group)


def _worker(settings: Settings) -> pwd.struct_passwd | None:
    """Who nginx's workers are to be, where there is a choice: when root starts it. Raises InvalidSetting."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(settings.edge.user) if settings.edge.user else pwd.getpwuid(0)
    except KeyError as error:
        raise InvalidSetting(f"edge_user: this machine has no user {settings.edge.user!r}.") from error


def _check_ways(places: Folders, worker: pwd.struct_passwd) -> None:
    """Raise InvalidSetting for a folder on the way to the edge's own that nginx's workers may not enter."""
    groups = os.getgrouplist(worker.pw_name, worker.pw_gid)
    for folder in {*places.run_dir.parents, *places.cache_dir.parents} - set(places.all):
        if not folder.exists():  # it will be made for root alone
            continue
        found = folder.stat()
        right = 0o100 if found.st_uid == worker.pw_uid else 0o010 if found.st_gid in groups else 0o001
        if worker.pw_uid and not found.st_mode & right:
            raise InvalidSetting(
                f"edge_user: {worker.pw_name} may not enter {folder}: set CEPHSTORAGE_EDGE_RUN_DIR and "
                "CEPHSTORAGE_EDGE_CACHE_DIR to folders below ones that everybody may enter."
            )


def edge_config(settings: Settings, secret: str, values: Values) -> EdgeConfig:
    """What the settings make of the edge; ``values`` are the options in force that are set."""
    chosen, places, worker = settings.edge, folders(settings), _worker(settings)
    if worker is not None:
        _check_ways(places, worker)
    public = urlsplit(values.get("public_address", "")).hostname
    public = f"[{public}]" if public and ":" in public else public
    gateway = values.get("ceph_gateway") if settings.store == "ceph" else None
    if (chosen.s3_listen or chosen.s3_listen_tls) and settings.store != "ceph":
        raise InvalidSetting("edge_s3_listen stands before RGW: it goes with CEPHSTORAGE_STORE=ceph only.")
    return EdgeConfig(
        secret=secret,
        proxies=chosen.proxies or (settings.local_address().removeprefix("http://"),),
        run_dir=places.run_dir,
        cache_dir=places.cache_dir,
        listen=chosen.listen,
        listen_tls=chosen.listen_tls,
        s3_listen=chosen.s3_listen,
        s3_listen_tls=chosen.s3_listen_tls,
        api_hosts=(*((public,) if public else ()), *chosen.names),
        purge_listen=chosen.purge_listen,
        health_listen=chosen.health_listen,
        cache_size=chosen.cache_size,
        slice_size=chosen.slice,
        gateways=(Gateway.parse(gateway),) if gateway else (),
        gateway_ca=Path(values.get("ceph_ca_file") or SYSTEM_CAS),
        objects_dir=settings.objects_dir.absolute() if settings.store == "disk" else None,
        certificates=certificates(chosen.certificates),
        trusted_proxies=chosen.trusted_proxies,
        workers=chosen.processes,
        open_files=min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        user=f"{worker.pw_name} {grp.getgrgid(worker.pw_gid).gr_name}" if worker is not None else "",
        purge_module=chosen.purge_module,
        limits=Limits(
            header_timeout=chosen.header_timeout,
            body_timeout=chosen.body_timeout,
            send_timeout=chosen.send_timeout,
            answer_timeout=chosen.answer_timeout,
            connections_per_client=chosen.client_connections,
        ),
    )


def certificates(folder: Path | None) -> tuple[Certificate, ...]:
    """The certificates of a folder that have their key beside them, by name."""
    if folder is None:
        return ()
    names = sorted(path.stem for path in folder.glob("*.crt") if path.with_suffix(".key").exists())
    return tuple(Certificate(folder.absolute(), name) for name in names)


class EdgeSource:
    """The edge's configuration from the settings in force, as often as it is asked.

    The database is opened by the first question that finds it, so that an edge starts without it.
    """

    def __init__(self, settings: Settings, index: SqlIndex) -> None:
        self._settings = settings
        self._index = index
        self._opened = False
        self._sealed = sealed_settings(settings, index)

    async def __call__(self) -> EdgeConfig:
        """What nginx.conf is rendered from. Raises InvalidSetting, DatabaseUnavailable, SecretKeyWrong."""
        await self._open()
        secret = await self._sealed.made(SECRET_SETTING)
        kept = {name: value for name, value in (await self._index.settings.all()).items() if name in OPTIONS}
        return edge_config(self._settings, secret, {**kept, **self._settings.given_options()})

    async def _open(self) -> None:
        if not self._opened:
            await self._index.open()
            self._opened = True

    def counting(self, run_dir: Path) -> UsageCounting:
        """What counts the edge's log into the database that the configuration comes from."""

        async def mirrors() -> frozenset[str]:
            await self._open()
            return frozenset(mirror.host for mirror in await self._index.mirrors.all())

        return UsageCounting(AccessLog(run_dir / "access.log"), mirrors, self._index.series.add)


@asynccontextmanager
async def _source(settings: Settings) -> AsyncIterator[EdgeSource]:
    make_private_directory(settings.data_dir)
    index = make_index(settings)
    try:
        yield EdgeSource(settings, index)
    finally:
        await index.close()


async def _text(settings: Settings) -> str:
    async with _source(settings) as source:
        return render(await source())


def rendered(settings: Settings) -> str:
    """nginx.conf as it would be written now. Raises InvalidSetting, DatabaseUnavailable."""
    return asyncio.run(_text(settings))


def write_for_system(settings: Settings, folder: Path) -> list[Path]:
    """Write the files of a system service into ``folder``."""
    moved = settings.edge.model_copy(update={"run_dir": folder.absolute()})
    there = settings.model_copy(update={"edge": moved})
    return write_system(folders(there), rendered(there), settings.edge.user or getpass.getuser())


def check(settings: Settings) -> str | None:
    """What nginx has against the settings in force; None when they are well."""
    return asyncio.run(complaint_about(folders(settings), rendered(settings)))


def reload(settings: Settings) -> str:
    """Have the running edge take over the settings in force; who was told. Raises InvalidSetting."""
    places = folders(settings)
    trouble = check(settings)
    if trouble is not None:
        raise InvalidSetting(f"nginx refuses the settings; the edge goes on as before. It says: {trouble}")
    ours = _noted(places.run_dir / PID_FILE) if _claimed(places.run_dir) else None
    nginx = _noted(places.run_dir / "nginx.pid")
    nginx = nginx if nginx is not None and is_nginx(nginx) else None
    if ours is None and nginx is not None:
        write_config(places, rendered(settings))
    pid = ours or nginx
    if pid is None:
        raise InvalidSetting(f"No edge runs here: start it with 'cephstorage edge run' ({places.run_dir}).")
    os.kill(pid, signal.SIGHUP)
    return "the edge" if ours else "nginx"


def _claimed(run_dir: Path) -> bool:
    """Whether a supervisor runs here. Its pid alone does not say so: it outlives who was killed, and is given anew."""
    claimed = claim(run_dir)
    if claimed is not None:
        os.close(claimed)
    return claimed is None


def _noted(pid_file: Path) -> int | None:
    """The process that a file names. (``nginx -t`` leaves an empty one.)"""
    try:
        return int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def run(settings: Settings) -> int:
    """Run the edge in the foreground; the exit status."""
    logs.configure(settings.log_format, settings.log_level)

    async def serve() -> int:
        async with _source(settings) as source:
            places = folders(settings)
            counting = source.counting(places.run_dir)
            counts = asyncio.create_task(counting.for_ever())
            try:
                return await Supervisor(places, source, grace=settings.grace).run()
            finally:
                counting.end()
                await asyncio.wait({counts}, timeout=_LAST_COUNT)
                counts.cancel()
                await asyncio.gather(counts, return_exceptions=True)

    return asyncio.run(serve())
