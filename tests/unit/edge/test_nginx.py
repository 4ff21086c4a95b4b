"""nginx's processes are told from those of everybody else, whatever these are called."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from cephstorage.edge.nginx import is_nginx, members
from tests.harness.patience import until

SLEEP = Path(shutil.which("sleep") or "")


def test_names_that_are_no_text_are_in_nobodys_way(tmp_path: Path) -> None:
    """The kernel cuts a name after 15 bytes, wherever that is in a letter."""
    link = tmp_path / "vierzehn-bytesü"
    link.symlink_to(SLEEP)
    with subprocess.Popen([link, "60"], process_group=0) as odd:
        until(lambda: b"vierzehn" in Path(f"/proc/{odd.pid}/comm").read_bytes())
        assert not is_nginx(odd.pid)
        assert list(members(odd.pid)) == []
        odd.kill()


def test_living_members_are_found_by_their_group(tmp_path: Path) -> None:
    (tmp_path / "nginx").symlink_to(SLEEP)
    with subprocess.Popen([tmp_path / "nginx", "60"], process_group=0) as found:
        until(lambda: is_nginx(found.pid))
        assert list(members(found.pid)) == [found.pid]
        os.kill(found.pid, signal.SIGKILL)
        until(lambda: not is_nginx(found.pid))
        assert list(members(found.pid)) == []
