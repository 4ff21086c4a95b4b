"""``make run-ceph``: says how to be used, does what it says, stops everything, and goes on with the same data."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "scripts.run_ceph"]


@pytest.fixture
def folder(ceph_programs: None) -> Iterator[Path]:
    """A place that PostgreSQL's user gets through to."""
    made = Path(tempfile.mkdtemp(prefix="run-ceph-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


class Run:
    """One start, up to the words that say how to use it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("CEPHSTORAGE_")}
        self.env |= {"CEPHSTORAGE_DATA_DIR": str(folder), "CEPHSTORAGE_PORT": str(port)}
        self.process = subprocess.Popen(COMMAND, cwd=ROOT, env=self.env, stderr=subprocess.PIPE, text=True)
        self.said = ""
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._told.wait(120)
        assert "stops everything in order" in self.said, self.said

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.said += line
                if "stops everything" in line:
                    self._told.set()
        self._told.set()

    def do(self, begins: str) -> str:
        """Do the line of the words that begins so, after the exports; its output."""
        exports = re.findall(r"^  (export .*)$", self.said, re.MULTILINE)
        [line] = re.findall(rf"^  ({re.escape(begins)}.*)$", self.said, re.MULTILINE)
        words = "\n".join(["set -eu", *exports, line])
        done = subprocess.run(
            ["bash", "-c", words], cwd=ROOT, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
        return done.stdout

    def stop(self, number: signal.Signals) -> None:
        """Stop, and see every process gone."""
        family = children(self.process.pid)
        assert len(family) >= 8, "Ceph 3, PostgreSQL 1, ours 4"
        self.process.send_signal(number)
        assert self.process.wait(120) == 0, self.said
        self._reader.join(60)
        assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_it_does_what_it_says_and_goes_on_with_the_same_data(folder: Path) -> None:
    first = Run(folder, free_port())
    first.do("cephstorage bucket create")
    listing = first.do("curl ")
    assert '"key":"README.md"' in listing
    second_on_the_same = subprocess.run(COMMAND, cwd=ROOT, env=first.env, capture_output=True, text=True, check=False)
    assert second_on_the_same.returncode == 1
    assert "already" in second_on_the_same.stderr
    first.stop(signal.SIGINT)
    again = Run(folder, free_port())
    assert first.said.splitlines()[1] == again.said.splitlines()[1], "the same address"
    assert again.do("curl ") == listing
    again.stop(signal.SIGTERM)
    assert not [path for path in folder.rglob("*.log") if "Traceback" in path.read_text(errors="replace")]
