"""Runs the tests of ``tests/isolated`` in a network namespace without routes."""

import re
import subprocess
import sys
from pathlib import Path


def test_forbidden_addresses_where_no_packet_can_leave(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.harness.isolation", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'isolated'}", "tests/isolated"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) >= 30
