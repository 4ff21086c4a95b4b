"""The bench runs: its figures are not judged here, but each line is there and was measured."""

import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("part", "lines"), [("listing", 4), ("jobs", 1)])
def test_the_bench_measures(part: str, lines: int) -> None:
    command = [sys.executable, "-m", "bench", "--only", part, "--keys", "3000", "--jobs", "20"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    assert len(said) == lines
    for line in said:
        assert float(re.findall(r"\d+(?:\.\d+)?", line)[-1]) > 0, line
