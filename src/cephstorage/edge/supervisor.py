"""``edge run``: nginx in the foreground, kept alive and kept up to date.

The text of nginx.conf is asked for again and again; when it changes, nginx tests it and takes it over
without dropping a request. What nginx refuses is not put in place, and neither a database that does not
answer, nor a broken setting, nor a full disk stops an edge that runs.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import structlog

from cephstorage.domain.errors import CephStorageError, InvalidSetting
from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.nginx import Folders, Nginx, complaint, complaint_about, write_config
from cephstorage.edge.render import render
from cephstorage.edge.space import keeps
from cephstorage.files import remove_quietly, try_lock, write_durably
from cephstorage.waking import woken

log = structlog.get_logger()

Source = Callable[[], Awaitable[EdgeConfig]]
"""The settings in force. Raises errors of the tree."""
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_STABLE = 10.0
"""Seconds after which a start counts as a success."""
PID_FILE = "edge.pid"
_LOCK_FILE = "edge.lock"


def claim(run_dir: Path) -> int | None:
    """A descriptor that makes the folder ours for as long as it is open; None when a living edge has it. Raises OSError."""
    fd = os.open(run_dir / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if try_lock(fd):
        return fd
    os.close(fd)
    return None


class Supervisor:
    """One edge on this machine."""

    def __init__(self, folders: Folders, source: Source, *, every: float = 1.0, grace: float = 10.0) -> None:
        self._folders = folders
        self._source = source
        self._every = every
        self._grace = grace
        self._nginx = Nginx(folders)
        self._config: EdgeConfig | None = None
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._last_trouble = ""
        self._keeps = True

    async def run(self) -> int:
        """Until SIGTERM, SIGINT or SIGQUIT; 1 when the edge could not even start. SIGHUP: look at the settings now."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._hurry.set)
        self._folders.make()
        claimed = claim(self._folders.run_dir)
        if claimed is None:  # two would go on ending each other's nginx
            log.error("edge_runs_already", run_dir=str(self._folders.run_dir), advice="cephstorage edge reload")
            return 1
        try:
            return await self._run()
        finally:
            os.close(claimed)

    async def _run(self) -> int:
        if not await self._first_config():
            return 1
        pid_file = self._folders.run_dir / PID_FILE
        write_durably(pid_file, str(os.getpid()).encode())
        try:
            await self._keep_running()
        finally:
            remove_quietly(pid_file)
        return 0

    async def _first_config(self) -> bool:
        """Write nginx.conf; one from before serves when the settings can't be read now."""
        try:
            text = await self._rendered()
        except CephStorageError as error:
            if isinstance(error, InvalidSetting) or not self._folders.config_file.exists():
                log.error("edge_cannot_start", msg=error.msg)
                return False
            log.warning("edge_starts_with_its_last_configuration", msg=error.msg)
        else:
            write_config(self._folders, text)
        trouble = await complaint(self._folders.config_file)
        if trouble is not None:
            log.error("edge_configuration_refused", nginx=trouble)
        return trouble is None

    async def _rendered(self) -> str:
        config = await self._source()
        self._config = replace(config, keeps=self._has_room())
        return render(self._config)

    def _has_room(self) -> bool:
        """Whether the disk of the caches has room for what they would keep. Raises OSError."""
        free = shutil.disk_usage(self._folders.cache_dir).free
        if (room := keeps(free, kept=self._keeps)) != self._keeps:
            event = "edge_keeps_again" if room else "edge_keeps_nothing"
            log.warning(event, cache_dir=str(self._folders.cache_dir), free=free)
        self._keeps = room
        return room

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = loop.time()
            died = await self._one_life()
            if self._stopping.is_set():
                return
            pause = _FIRST_PAUSE if loop.time() - began > _STABLE else min(_LONGEST_PAUSE, pause * 2)
            log.warning("nginx_died", **died, again_in=pause)
            await woken(self._stopping, pause)

    async def _one_life(self) -> dict[str, object]:
        """Run nginx until it ends; how it did."""
        try:
            await self._nginx.start()
        except OSError as error:
            return {"error": str(error)}
        log.info("edge_runs", pid=self._nginx.pid)
        return {"status": await self._until_it_ends()}

    async def _until_it_ends(self) -> int:
        """Follow the settings while nginx runs; its exit status. It is stopped when we are."""
        ended = asyncio.ensure_future(self._nginx.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                hurry = asyncio.ensure_future(self._hurry.wait())
                await asyncio.wait({ended, stopping, hurry}, timeout=self._every, return_when=asyncio.FIRST_COMPLETED)
                hurry.cancel()
                if stopping.done():
                    try:
                        await self._drain()
                    except OSError as error:
                        log.warning("edge_stops_undrained", error=str(error))
                    await self._nginx.stop(self._grace)
                if ended.done():
                    return await ended
                await self._follow(forced=self._hurry.is_set())
                self._hurry.clear()
        finally:
            stopping.cancel()

    async def _drain(self) -> None:
        """Let nobody in any more and wait, within the grace, for what is under way.

        nginx asks itself for slices, on sockets that an orderly end would close under the requests that still
        need them. So it goes on with those sockets alone, and the workers from before finish what they have.
        """
        if self._config is None:
            return
        text = self._folders.config_file.read_text()
        write_config(self._folders, render(self._config, draining=True))
        try:
            await self._nginx.replace_workers(self._grace)
        finally:
            write_config(self._folders, text)

    async def _follow(self, *, forced: bool) -> None:
        """Take over a changed configuration; when ``forced``, an unchanged one too."""
        try:
            self._nginx.rotate_logs()
            await self._take_over(forced=forced)
        except OSError as error:
            self._complain("edge_files_unusable", str(error))

    async def _take_over(self, *, forced: bool) -> None:
        """Raises OSError: the folder's disk is full, or somebody has removed what lies there."""
        try:
            text = await self._rendered()
        except CephStorageError as error:
            self._complain("edge_settings_unreadable", error.msg)
            return
        if not forced and text == self._folders.config_file.read_text():
            self._last_trouble = ""
            return
        trouble = await complaint_about(self._folders, text)
        if trouble is not None:
            self._complain("edge_configuration_refused", trouble)
            return
        self._last_trouble = ""
        write_config(self._folders, text)
        self._nginx.reload()
        log.info("edge_reloaded")

    def _complain(self, event: str, trouble: str) -> None:
        """Once for each trouble, not once a second."""
        if trouble != self._last_trouble:
            log.error(event, msg=trouble)
        self._last_trouble = trouble
