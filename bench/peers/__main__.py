"""Runs the rows and prints one table: ``python -m bench.peers [--only ROW ...] [--whom NAME ...] [--rounds N]``."""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.peers import contestants
from bench.peers.contestants import Contestant
from bench.peers.decisions import decisions
from bench.peers.origins import Origins, origins
from bench.peers.rows import ROWS, Asked, Row

_PEERS = {
    "nginx": contestants.nginx,
    "nginx slice": lambda folder, ports: contestants.nginx(folder, ports, sliced=True),
    "Varnish": contestants.varnish,
    "Squid": contestants.squid,
    "ATS": contestants.traffic_server,
}
_OURS = ("ours", "ours, no nginx")
_WIDTH = 53


@contextmanager
def field(folder: Path, seen: Origins, whom: list[str]) -> Iterator[list[Contestant]]:
    """Everybody who takes part, the origin first."""
    direct = Contestant("direct", seen.ports.__getitem__, list, lambda _host, _target: None)
    with ExitStack() as running:
        there = [direct]
        for number, (name, start) in enumerate(_PEERS.items()):
            if name in whom:
                there.append(running.enter_context(start(_own(folder, str(number)), seen.ports)))
        if set(_OURS) & set(whom):
            both = running.enter_context(contestants.ours(_own(folder, "ours"), seen.ports))
            there += [one for one in both if one.name in whom]
        yield there


def _own(folder: Path, name: str) -> Path:
    own = folder / name
    own.mkdir(mode=0o755)
    return own


def run(row: Row, there: list[Contestant], seen: Origins, rounds: int) -> list[str]:
    """One row in interleaved rounds; its cells."""
    taking_part = there if row.direct else there[1:]
    results: dict[str, list[float | str]] = defaultdict(list)
    for number in range(1 if row.once else rounds):
        for one in taking_part:
            seen.faulty.reset_counters()
            mark = f"{row.short}-{one.name.replace(', ', '-').replace(' ', '-')}-{number}"
            try:
                results[one.name].append(row.measure(Asked(one, seen, mark)))
            except (AssertionError, OSError) as error:
                print(f"  {row.short}, {one.name}: {error!r}", file=sys.stderr)
                results[one.name].append("failed")
    cells = [row.shown(results[one.name], results["direct"]) for one in there[1:]]
    direct = row.shown(results["direct"], results["direct"]) if not row.ratio else _absolute(row, results["direct"])
    return [direct if row.direct else "", *cells, row.must]


def _absolute(row: Row, direct: list[float | str]) -> str:
    figure = sorted(float(item) for item in direct)[len(direct) // 2]
    return f"{figure:.0f}/s" if row.ratio == "rate" else f"{figure * 1e3:.0f} ms"


def line(name: str, cells: list[str]) -> None:
    """One line of the table."""
    print(f"{name:<{_WIDTH}} " + " ".join(f"{cell:>15}" for cell in cells), flush=True)


def main() -> None:
    """Measure what was asked for. ``direct`` is absolute; figures beside it are ratios to it where the row compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    names = [row.short for row in ROWS]
    parser.add_argument("--only", nargs="+", choices=[*names, "decisions"], default=[*names, "decisions"])
    everybody = [*_PEERS, *_OURS]
    parser.add_argument("--whom", nargs="+", choices=everybody, default=everybody)
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}; medians of {chosen.rounds} interleaved rounds")
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        folder.chmod(0o755)
        with origins(_own(folder, "origin")) as seen, field(folder, seen, chosen.whom) as there:
            line("", [*(one.name for one in there), "ours must be"])
            for row in ROWS:
                if row.short in chosen.only:
                    line(row.name, run(row, there, seen, chosen.rounds))
            if "decisions" in chosen.only:
                for one in [one for one in there if one.service is not None][:1]:
                    decisions(one)


if __name__ == "__main__":
    main()
