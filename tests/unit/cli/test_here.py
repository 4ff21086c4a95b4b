"""Verbs that do the service's work themselves: standard output is the result's alone."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_what_is_logged_is_not_mixed_with_the_result(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "objects" / "alice___photos" / "ab"
    folder.mkdir(parents=True)
    (folder / "ab.v.1").write_bytes(b"bytes")
    (folder / "ab.v.1.json").write_bytes(b"{")  # the disk has damaged it, which is logged
    env = {name: value for name, value in os.environ.items() if not name.startswith("CEPHSTORAGE_")}
    command = [sys.executable, "-m", "cephstorage", "reindex", "--json"]
    done = subprocess.run(
        command,
        env=env | {"CEPHSTORAGE_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert [each["unreadable"] for each in json.loads(done.stdout)["buckets"]] == [1]
    assert "side_file_unreadable" in done.stderr
