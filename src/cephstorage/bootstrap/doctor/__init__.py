"""The examination behind ``cephstorage doctor``: what of this machine would keep the service from working well.

Everything is looked at from here, in this process; the service need not run. Nothing is repaired and
nothing is made: a database that isn't there yet is reported, not created.
"""

import time

from cephstorage.bootstrap.doctor import machine
from cephstorage.bootstrap.doctor.configuration import examine_options, examine_secret_key, in_force
from cephstorage.bootstrap.doctor.database import examine_database, sqlite_version
from cephstorage.bootstrap.doctor.edge import examine_edge
from cephstorage.bootstrap.doctor.finding import Finding, careful
from cephstorage.bootstrap.doctor.service import examine_service
from cephstorage.bootstrap.doctor.store import examine_store
from cephstorage.bootstrap.settings import Settings

__all__ = ["Finding", "examine"]


async def examine(settings: Settings, *, address: str | None = None) -> list[Finding]:
    """Look at everything. ``address``: where the service should answer; None: it is not asked."""
    on_server = bool(settings.database_url.get_secret_value())
    there = settings.data_dir.is_dir()
    database, kept = await examine_database(settings) if there or on_server else ([], {})
    options, values = examine_options(settings, kept)
    chosen = in_force(settings, values)
    return [
        Finding("settings", ok=True, detail=f"readable; data below {settings.data_dir.resolve()}"),
        careful("data folder", lambda: machine.data_folder(settings.data_dir, sqlite=not on_server)),
        careful("admin token", lambda: machine.token_file(settings)),
        careful("secret key", lambda: examine_secret_key(settings, kept)),
        *options,
        careful("spool", lambda: machine.spool(chosen)),
        careful("disk space", lambda: machine.disk_space(chosen)),
        careful("clock", lambda: machine.clock(chosen, time.time())),
        *([] if on_server else [sqlite_version()]),
        *database,
        *await examine_store(settings, values, kept),
        *await examine_edge(settings),
        *await examine_service(address),
    ]
