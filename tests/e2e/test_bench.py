"""The bench runs: its figures are not judged here, but each line is there and was measured."""

import re
import subprocess
import sys

import pytest

from tests.harness.programs import require


@pytest.mark.parametrize(("part", "lines"), [("listing", 4), ("jobs", 1)])
def test_the_bench_measures(part: str, lines: int) -> None:
    command = [sys.executable, "-m", "bench", "--only", part, "--keys", "3000", "--jobs", "20"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    assert len(said) == lines
    for line in said:
        assert float(re.findall(r"\d+(?:\.\d+)?", line)[-1]) > 0, line


def test_the_peers_are_measured_and_watched() -> None:
    require("nginx")
    command = [sys.executable, "-m", "bench.peers", "--rounds", "1", "--whom", "nginx", "ours"]
    command += ["--only", "first", "dies", "truncated"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    names, first, dies, truncated = (re.split(r" {2,}", line.strip()) for line in said)
    assert names == ["direct", "nginx", "ours", "ours must be"]
    assert all(float(figure) > 0 for figure in first[1:4])
    assert dies[1:3] == ["error", "the whole body"]
    assert truncated[1:3] == ["stored", "not stored"]


def test_the_bench_of_the_index_measures() -> None:
    command = [sys.executable, "-m", "bench.index", "--only", "sqlite", "--sqlite-keys", "3000", "--rounds", "5"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len(re.findall(r"p50 +\d+\.\d\d ms +p99 +\d+\.\d\d ms", said)) == 20
    assert len(re.findall(r"[1-9]\d* keys/s", said)) == 2
