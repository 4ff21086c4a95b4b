"""Machines with networks of their own, which can be cut off: a namespace each, and a bridge between them and the tests.

    namespace ── veth ──┐
    namespace ── veth ──┼── bridge ── tests, PostgreSQL, Ceph and origin (by relays on the bridge's address)
    namespace ── veth ──┘

A machine that is cut off goes on, as one behind a broken switch does: nothing it sends arrives, and nobody is told. Addresses
are of 198.18.0.0/15, which no network routes (RFC 2544).
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest

from tests.harness.fault_proxy import FaultProxy
from tests.harness.service import Service


def require_namespaces() -> None:
    """Skip the test where network namespaces can't be made: it takes root, ip(8) and a kernel that allows it."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces take root and ip(8) of iproute2")
    name = f"cs{secrets.token_hex(3)}"
    tried = subprocess.run(["ip", "link", "add", name, "type", "bridge"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this kernel makes no bridge: {tried.stderr.strip()}")
    _ip("link", "del", name)
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this kernel makes no network namespace: {tried.stderr.strip()}")
    _ip("netns", "del", name)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


class Island(Service):
    """A service in a namespace of its own, which can be cut off."""

    def __init__(self, data_dir: Path, name: str, address: str, **settings: str) -> None:
        super().__init__(data_dir, host=address, advertise=f"{address}:0", **settings)
        self.within = ("ip", "netns", "exec", name)
        self._link = name

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """No packet arrives there, and none comes from there, meanwhile."""
        _ip("link", "set", self._link, "down")
        try:
            yield
        finally:
            _ip("link", "set", self._link, "up")


class Archipelago:
    """A bridge, and the islands at it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"cs{secrets.token_hex(3)}"
        self._network = f"198.{18 + secrets.randbelow(2)}.{secrets.randbelow(256)}"
        self._islands: list[Island] = []
        self._opened = ExitStack()

    @property
    def host(self) -> str:
        """The address at which everything outside the islands is reached from them."""
        return f"{self._network}.1"

    @property
    def network(self) -> str:
        """All addresses, as a setting takes them."""
        return f"{self._network}.0/24"

    def __enter__(self) -> Self:
        _ip("link", "add", self._name, "type", "bridge")
        self._opened.callback(_ip, "link", "del", self._name)
        _ip("addr", "add", f"{self.host}/24", "dev", self._name)
        _ip("link", "set", self._name, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for island in self._islands:
            if island.running:
                island.stop()
        self._opened.close()

    def reached(self, url: str) -> str:
        """A service of this machine's loopback device, by its URL, as it is reached from the islands."""
        parts = urlsplit(url)
        relay = self._opened.enter_context(FaultProxy(parts.port or 0, self.host))
        return url.replace(f"{parts.hostname}:{parts.port}", f"{self.host}:{relay.port}")

    def island(self, folder: str, **settings: str) -> Island:
        """One more island, not started yet."""
        number = len(self._islands) + 2
        name, address = f"{self._name}-{number}", f"{self._network}.{number}"
        _ip("netns", "add", name)
        self._opened.callback(_ip, "netns", "del", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._opened.callback(_ip, "link", "del", name)
        _ip("link", "set", name, "master", self._name, "up")
        for arguments in (
            ("addr", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *arguments)
        self._islands.append(Island(self._folder / folder, name, address, **settings))
        return self._islands[-1]
