"""A whole installation that is spoken to like one service: proxies, a worker, the edge before them, shared engines.

``make`` builds any of the ``KINDS`` over which the end-to-end suite runs; what a test does with a ``Service`` it
does with each of them. A ``Stack`` also gives its parts away, to be killed and restarted one by one.
"""

import contextlib
import http.client
from collections.abc import Callable
from pathlib import Path

from tests.harness.edge import Edge
from tests.harness.patience import until
from tests.harness.ports import free_port
from tests.harness.service import Service, Worker

KINDS = ("direct", "edge", "real", "cluster")
"""Disk and SQLite; the same behind an edge; Ceph and PostgreSQL behind an edge; that with two machines and a worker."""


def make(kind: str, data_dir: Path, engines: Callable[[], dict[str, str]], **settings: str) -> Service:
    """An installation that is not started yet. ``engines``: what ``machines.shared_engines`` gives."""
    if kind == "direct":
        return Service(data_dir, **{name: value for name, value in settings.items() if not name.startswith("edge_")})
    if kind == "edge":
        return Stack(data_dir, **settings)
    if kind == "real":
        return Stack(data_dir, **engines(), **settings)
    return Stack(data_dir, proxies=2, worker=True, engines=engines(), **settings)


class Stack(Service):
    """``url`` and ``port`` are the edge's. With ``engines`` each proxy is a machine of its own, else all share the data folder.

    ``settings`` go to every process; those that begin with ``edge_`` to the edge and its senders of purges, who tell
    further edges in ``edge_purge``, too.
    """

    refuses_itself = frozenset({"invalid_request"})

    def __init__(
        self,
        data_dir: Path,
        *,
        proxies: int = 1,
        worker: bool = False,
        engines: dict[str, str] | None = None,
        **settings: str,
    ) -> None:
        super().__init__(data_dir, **(engines or {}), **settings)
        self._own_machines = engines is not None
        self._port = free_port()
        self.proxies = [Service(self._folder(f"proxy-{number}" if number else "")) for number in range(proxies)]
        self.worker = Worker(self._folder("worker")) if worker else None
        self._edge: Edge | None = None
        self.lines = []

    def _folder(self, name: str) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}-{name}") if name and self._own_machines else self.data_dir

    @property
    def members(self) -> list[Service]:
        """Every process of ours but the edge."""
        return [*self.proxies, *([self.worker] if self.worker is not None else [])]

    @property
    def edge(self) -> Edge:
        """The edge; it is there once the stack has been started."""
        assert self._edge is not None
        return self._edge

    @property
    def pid(self) -> int:
        return self.proxies[0].pid

    @property
    def module(self) -> str:  # type: ignore[override]
        """What the first proxy runs (see ``tests.harness.crashing``)."""
        return self.proxies[0].module

    @module.setter
    def module(self, name: str) -> None:
        self.proxies[0].module = name

    def start(self) -> "Stack":
        """Start what does not run; return when all of it answers."""
        if self._edge is None:
            own = {name: value for name, value in self.settings.items() if name.startswith("edge_")}
            self._edge = Edge(self, port=self._port, **own)
            others = self.settings.get("edge_purge", "")
            self.settings["edge_purge"] = f"http://127.0.0.1:{self._edge.purge_port},{others}".rstrip(",")
            self.settings.setdefault("public_address", self._edge.url)
        for member in self.members:
            member.settings = {**self.settings, **self._particulars(member)}
            if not member.running:
                member.start()
        if not self._edge.proxies:
            self._edge.proxies = [proxy.url.removeprefix("http://") for proxy in self.proxies]
            self._edge.start()
        self.url = self._edge.url
        until(self._is_ready)
        return self

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("GET", "/readyz", token=None).status == 200
        return False

    def _particulars(self, member: Service) -> dict[str, str]:
        if isinstance(member, Worker):
            return {}
        where = {"advertise": "127.0.0.1:0"} if self._own_machines else {}
        return {"background": "false", **where} if self.worker is not None else where

    def stop(self) -> int:
        """Stop everything in order: the edge, then what serves it; the worst exit status."""
        statuses = [self._edge.stop()] if self._edge is not None else []
        self._edge = None
        return max([*statuses, *(abs(member.stop()) for member in self.members)])

    def kill(self) -> None:
        """kill -9 of all but the edge."""
        for member in self.members:
            member.kill()

    def wait(self) -> int:
        """Wait until the first proxy has ended; its exit status."""
        return self.proxies[0].wait()

    def log(self) -> str:
        """What all of them have logged."""
        return "".join([*(member.log() for member in self.members), self._edge.log() if self._edge else ""])
