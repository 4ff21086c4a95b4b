"""What the service counts about itself, in Prometheus' text format, and whether it is ready."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, generate_latest

from cephstorage.domain.errors import CephStorageError


@dataclass(slots=True)
class Monitoring:
    """Counters of this process, and checks of the parts it stands on (name -> check)."""

    checks: dict[str, Callable[[], Awaitable[str]]]
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    answers: Counter = field(init=False)
    transfers: Counter = field(init=False)
    fetched: Counter = field(init=False)
    events: Counter = field(init=False)
    refusals: Counter = field(init=False)
    _answers: dict[str, Counter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.answers = Counter(
            "cephstorage_mirror_answers", "Mirror answers by what was decided", ["decision"], registry=self.registry
        )
        self.transfers = Counter(
            "cephstorage_transfers_ended", "Transfers by kind and end", ["kind", "end"], registry=self.registry
        )
        self.fetched = Counter(
            "cephstorage_origin_bytes",
            "Bytes spooled from origins by kind of transfer",
            ["kind"],
            registry=self.registry,
        )
        self.events = Counter(
            "cephstorage_bucket_events",
            "Events of followed buckets: news (checked), known already, strange, or not settled",
            ["meaning"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "cephstorage_quota_refusals",
            "Transfers that did not fit in a quota, by kind (fill: served, and not kept)",
            ["kind"],
            registry=self.registry,
        )

    def refused(self, kind: str) -> None:
        """Count what did not fit in a quota."""
        self.refusals.labels(kind).inc()

    def answered(self, decision: str) -> None:
        """Count a mirror answer."""
        series = self._answers.get(decision)
        if series is None:
            series = self._answers[decision] = self.answers.labels(decision)
        series.inc()

    def ended(self, kind: str, end: str, fetched: int) -> None:
        """Count the end of a transfer's attempt, and the bytes that came from the origin for it."""
        self.transfers.labels(kind, end).inc()
        self.fetched.labels(kind).inc(fetched)

    def told(self, meaning: str, count: int) -> None:
        """Count events of followed buckets."""
        self.events.labels(meaning).inc(count)

    def exposition(self) -> bytes:
        """All series, for ``/metrics``."""
        return generate_latest(self.registry)

    async def readiness(self) -> tuple[bool, dict[str, str]]:
        """Whether every part answers, and what each says."""
        ready, said = True, {}
        for name, check in self.checks.items():
            try:
                said[name] = await check()
            except CephStorageError as error:
                ready, said[name] = False, f"{error.code}: {error.msg}"
        return ready, said
