"""nginx's processes are told from those of everybody else, whatever these are called."""

import asyncio
import getpass
import os
import shutil
import signal
import subprocess
from pathlib import Path

from cephstorage.edge.config import EdgeConfig
from cephstorage.edge.nginx import Folders, complaint, complaint_about, is_nginx, members
from cephstorage.edge.render import render
from cephstorage.edge.system import write_system
from tests.harness.patience import until
from tests.harness.programs import require

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


async def test_files_for_a_system_service_are_all_that_nginx_needs_and_its_users(tmp_path: Path) -> None:
    require("nginx")
    user = "nobody" if os.geteuid() == 0 else getpass.getuser()
    folders = Folders(tmp_path / "run", tmp_path / "cache")
    text = render(EdgeConfig("s" * 32, ("127.0.0.1:8080",), folders.run_dir, folders.cache_dir))
    config, unit = write_system(folders, text, user)
    assert {path.owner() for path in (config, unit, *folders.all)} == {user}
    assert await complaint(config) is None
    assert f"\nReadWritePaths={folders.run_dir} {folders.cache_dir}\n" in unit.read_text()


async def test_configurations_are_tried_apart(tmp_path: Path) -> None:
    """By the edge that runs, and by an operator at the same moment."""
    require("nginx")
    folders = Folders(tmp_path / "run", tmp_path / "cache")
    good = render(EdgeConfig("s" * 32, ("127.0.0.1:8080",), folders.run_dir, folders.cache_dir))
    well, wrong = await asyncio.gather(complaint_about(folders, good), complaint_about(folders, "nonsense;"))
    assert (well, "nonsense" in (wrong or "")) == (None, True)
    assert list(folders.run_dir.glob("*.trial")) == []
