"""The one-node Ceph of the tests: it starts, keeps what it should keep, and leaves no process behind."""

import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.harness.ceph import Ceph
from tests.harness.leash import Leash
from tests.harness.patience import until


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_cluster_keeps_its_users_and_ports_over_kill_and_stop(own_ceph: Ceph) -> None:
    before = (own_ceph.gateway, own_ceph.user)
    own_ceph.kill()
    own_ceph.start()
    own_ceph.stop()
    own_ceph.start()
    assert (own_ceph.gateway, own_ceph.user) == before
    assert own_ceph.admin("user", "list") == ["cephstorage"]


def test_the_gateway_speaks_https_too(ceph: Ceph) -> None:
    assert ceph.certificate is not None
    trust = ssl.create_default_context(cafile=str(ceph.certificate.cert))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    with opener.open(ceph.secure_gateway, timeout=60) as answer:
        assert answer.status == 200


def test_a_failed_start_leaves_nothing_running_and_says_why(ceph_programs: None, tmp_path: Path) -> None:
    broken = Ceph(tmp_path / "node", rgw_options={"rgw_frontends": "beast endpoint=127.0.0.1:no-port"})
    with pytest.raises(AssertionError, match="rgw ended"):
        broken.start()
    assert broken.running == {}


def test_processes_die_with_their_holder() -> None:
    program = (
        "import subprocess, sys, time\n"
        "from tests.harness.leash import Leash\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "leash = Leash(); leash.hold(child.pid); print(child.pid, flush=True); time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        child = int(holder.stdout.readline())
    assert alive(child)
    holder.kill()
    holder.wait()
    until(lambda: not alive(child))


def test_a_released_process_is_left_alone() -> None:
    leash = Leash()
    with subprocess.Popen(["sleep", "600"]) as child:
        leash.hold(child.pid)
        leash.release(child.pid)
        leash.close()
        assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
