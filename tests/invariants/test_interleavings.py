"""The invariants over SQLite and disk, with many examples, and over PostgreSQL and Ceph with few."""

import contextlib
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.harness.machines import shared_engines
from tests.harness.origin import FaultOrigin
from tests.invariants.dealing import run_dealt
from tests.invariants.foreign import OverCeph
from tests.invariants.installation import Installation
from tests.invariants.machine import Interleavings

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
"""Many more examples, other ones each time, made small when they fail."""
EXAMPLES = {"disk": 1000, "ceph": 100} if DEEP else {"disk": 10, "ceph": 6}
if given := os.environ.get("INTERLEAVINGS"):
    EXAMPLES = dict.fromkeys(EXAMPLES, int(given))
STEPS = {"disk": 40, "ceph": 40} if DEEP else {"disk": 20, "ceph": 26}
QUICK = {
    "transfer_attempts": "3",
    "transfer_retry_base": "0.05",
    "transfer_retry_cap": "0.1",
    "origin_read_timeout": "300",  # origins are silent for as long as it pleases
    "transfer_deletion_rate": "2000",
    "grace": "0.5",
    "log_level": "warning",
}


@pytest.fixture(params=["disk", "ceph"])
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, origin: FaultOrigin
) -> Iterator[tuple[str, type[Interleavings]]]:
    """The machine over one of the pairs of engines."""
    kind, node, engines = request.param, None, {}
    if kind == "ceph":
        node = request.getfixturevalue("ceph")
        engines = shared_engines(request.getfixturevalue("postgres"), node) | {
            "ceph_removal_grace": "1",
            "reconcile_grace": "0",
        }
    own = {**engines, **QUICK, "origin_allowed_ports": str(origin.port)}
    with contextlib.ExitStack() as stack:
        home = Installation(tmp_path_factory.mktemp("invariants"), node, **own)
        stack.callback(home.stop)
        home.start()
        rules = Interleavings if node is None else OverCeph
        yield kind, type("Here", (rules,), {"home": home, "origin": origin, "failures": []})


@pytest.mark.slow
@pytest.mark.timeout(0 if DEEP else 300)
def test_no_interleaving_breaks_an_invariant(machine: tuple[str, type[Interleavings]]) -> None:
    kind, rules = machine
    if DEEP:
        run_random(rules, EXAMPLES[kind], STEPS[kind])
    else:
        run_dealt(rules, EXAMPLES[kind], STEPS[kind])


def run_random(rules: type[Interleavings], examples: int, steps: int) -> None:
    """Run many examples, other ones each time; one that fails is made small."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(rules, settings=chosen)
    except Exception:
        # Time does not repeat itself: the second run, for which hypothesis takes it back, may go otherwise.
        if rules.failures:
            raise rules.failures[0] from None
        raise
