"""What is logged never holds a secret, not even when something crashes."""

import subprocess
import sys

import pytest

CRASH = """
import logging, sys
import structlog
from cephstorage.bootstrap import logs
logs.configure(sys.argv[1], "info")
def fail(authorization):
    raise RuntimeError("broken")
try:
    fail("Bearer " + "s3cret-" + "value")
except RuntimeError:
    structlog.get_logger().exception("request_crashed")
    logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_shows_the_cause_but_no_local_variables(log_format: str) -> None:
    run = subprocess.run([sys.executable, "-c", CRASH, log_format], capture_output=True, text=True, check=True)
    assert run.stderr.count("broken") >= 2
    assert run.stderr.count("in fail") == 2
    assert "s3cret-value" not in run.stderr
