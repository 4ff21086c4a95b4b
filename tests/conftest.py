"""Fixtures for every test: real servers only."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.harness import programs
from tests.harness.ceph import Ceph, missing_programs
from tests.harness.origin import FaultOrigin
from tests.harness.postgres import PROGRAMS, Postgres
from tests.harness.tls import make_certificate


@pytest.fixture
def origin() -> Iterator[FaultOrigin]:
    """An origin with faults, empty, listening on a free loopback port."""
    with FaultOrigin() as server:
        yield server


@pytest.fixture(scope="session")
def ceph_programs() -> None:
    """Skip loudly where Ceph is not installed; in CI that is an error."""
    if missing := missing_programs():
        said = f"NO CEPH HERE: {', '.join(missing)} not installed; nothing of this is tested against a real RGW"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)


@pytest.fixture(scope="session")
def ceph(ceph_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """One Ceph for all tests of this worker process, in memory, with http and https. Tests leave it running and unlimited."""
    folder = tmp_path_factory.mktemp("ceph")
    with Ceph(folder / "node", certificate=make_certificate(folder)).start() as node:
        yield node


@pytest.fixture
def own_ceph(ceph_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A Ceph for one test alone, whose data survives kill -9 (bluestore)."""
    with Ceph(tmp_path_factory.mktemp("own-ceph") / "node", "bluestore").start() as node:
        yield node


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all tests of this worker process; each takes a database of its own. Tests leave it running."""
    programs.require(*PROGRAMS)
    with contextlib.closing(Postgres()) as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL for one test alone, to be stopped and killed."""
    programs.require(*PROGRAMS)
    with contextlib.closing(Postgres()) as server:
        yield server
