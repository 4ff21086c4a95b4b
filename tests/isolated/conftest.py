"""Tests that ask for forbidden addresses for real: only where there is no way out, whatever the guard does.

``tests/e2e/test_isolated.py`` runs them in a network namespace that has a loopback device and no route.
"""

import pytest

from tests.e2e.conftest import stack
from tests.e2e.mirror.conftest import shared_origin, shared_service, site
from tests.harness.isolation import without_routes

__all__ = ["shared_origin", "shared_service", "site", "stack"]

if not without_routes():
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def isolated() -> None:
    """The last safeguard: no packet can leave."""
    assert without_routes(), "run these tests through tests/e2e/test_isolated.py"
