"""Fixtures for every test: real servers only."""

from collections.abc import Iterator

import pytest

from tests.harness.origin import FaultOrigin


@pytest.fixture
def origin() -> Iterator[FaultOrigin]:
    """An origin with faults, empty, listening on a free loopback port."""
    with FaultOrigin() as server:
        yield server
