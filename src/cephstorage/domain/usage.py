"""What a mirror's figures are, and what follows from them. Pure.

A figure is a sum over a minute. Those of edges come from their logs, those of proxies from their answers, so that
each request is counted once as a client's: by the edge if one stood before the proxy, else by the proxy.

    edge.*    what an edge sent to clients            answers.*   what proxies decided, whoever asked
    direct.*  what a proxy sent to clients itself     fills, origin.bytes, failures.*   what origins were asked for
    errors.*  answers to clients by status            visits      what the service asked of itself (warm-ups)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from cephstorage.domain.errors import InvalidInput

MINUTE = 60
MOST_POINTS = 1500
KEPT = 31 * 86400
"""Seconds that figures are kept."""
_MISSES = ("start_fill", "join_fill", "revalidate")
_NAME = re.compile(r"(?<=[a-z])(?=[A-Z])")
Figures = dict[str, float]


def series_name(mirror: str, figure: str) -> str:
    """The name of a mirror's figure among the series."""
    return f"mirror/{mirror}/{figure}"


class Asker(Enum):
    """Who asked a proxy."""

    CLIENT = auto()
    EDGE = auto()
    PEER = auto()
    OURSELVES = auto()


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer of a proxy. ``sent``: bytes of its body; ``continues``: it goes on with one that was counted."""

    asker: Asker
    decision: str
    status: int
    sent: int
    continues: bool = False


def figures_of(answer: Answered) -> Figures:
    """What an answer adds to its minute."""
    decision = _NAME.sub("_", answer.decision).lower()
    figures: Figures = {}
    if answer.asker is Asker.PEER or answer.continues:
        pass  # its first question was counted
    elif answer.asker is Asker.OURSELVES:
        if decision in _MISSES:
            figures["visits"] = 1
    elif decision:
        figures[f"answers.{decision}"] = 1
    if answer.asker is Asker.CLIENT:
        figures |= {"direct.requests": 1, "direct.bytes": answer.sent}
        if answer.status >= 400:
            figures[f"errors.{answer.status}"] = 1
    if decision == "pass_through" and answer.sent:
        figures["origin.bytes"] = answer.sent
    return figures


def edge_figures(status: int, sent: int, *, hit: bool) -> Figures:
    """What a line of an edge's log adds to its minute. ``sent``: bytes of the answer, its head included."""
    figures: Figures = {"edge.requests": 1, "edge.bytes": sent}
    if hit:
        figures |= {"edge.hits": 1, "edge.hit_bytes": sent}
    if status >= 400:
        figures[f"errors.{status}"] = 1
    return figures


def fetched_figures(end: str, size: int) -> Figures:
    """What the end of a fill's attempt adds: ``end`` is ``landed``, ``nothing`` or the code of an error."""
    figures: Figures = {"fills": 1, "origin.bytes": size}
    if end not in {"landed", "nothing"}:
        figures[f"failures.{end}"] = 1
    return figures


def summary(figures: Mapping[str, float]) -> dict[str, Any]:
    """The figures as an operator reads them. Ratios are None where there is nothing to divide by.

    ``collapsed``: readers beyond the first of each fill, who cost the origin nothing.
    """

    def of(name: str) -> int:
        return int(figures.get(name, 0))

    misses = sum(of(f"answers.{name}") for name in _MISSES) + of("visits")
    requests, served = of("edge.requests") + of("direct.requests"), of("edge.bytes") + of("direct.bytes")
    return {
        "requests": requests,
        "bytes_served": served,
        "edge_hits": of("edge.hits"),
        "edge_hit_bytes": of("edge.hit_bytes"),
        "store_hits": of("answers.store_hit"),
        "fills": of("fills"),
        "collapsed": max(0, misses - of("fills")),
        "passed_through": of("answers.pass_through"),
        "refused": of("answers.refuse"),
        "origin_bytes": of("origin.bytes"),
        "origin_bytes_per_served_byte": round(of("origin.bytes") / served, 4) if served else None,
        "errors": _below(figures, "errors."),
        "origin_failures": _below(figures, "failures."),
    }


def _below(figures: Mapping[str, float], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): int(value) for name, value in sorted(figures.items()) if name.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class Period:
    """Minutes (epoch minutes) from ``since`` to before ``until``, in points of ``step`` minutes."""

    since: int
    until: int
    step: int


def period(since: float | None, until: float | None, step: float | None, now: float) -> Period:
    """Read a wish, in epoch seconds; ``since`` below 0 counts back from now. Default: the last hour by minutes.

    Raises InvalidInput.
    """
    end = now if until is None else until
    begin = end - 3600 if since is None else (now + since if since < 0 else since)
    if not 0 <= begin < end <= now + 86400:
        raise InvalidInput("The period must end after it begins, lie after 1970 and not in the future.")
    first, last = int(begin // MINUTE), int(end // MINUTE) + 1
    wide = -(-(last - first) // MOST_POINTS)
    if step is not None and (not 0 < step <= KEPT or (last - first) * MINUTE / step > MOST_POINTS):
        raise InvalidInput(f"The step must be positive and make at most {MOST_POINTS} points of the period.")
    return Period(first, last, max(1, round(step / MINUTE)) if step is not None else wide)
