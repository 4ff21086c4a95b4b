"""How index and store agree, in Prometheus' text format. Read from the database now and then, shown from memory."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cephstorage.domain.findings import FindingKind
from cephstorage.domain.walks import WalkKind
from cephstorage.ports.consistency import FindingTable, WalkTable


class ConsistencyFigures(Collector):
    """The series of one process: its own actions; findings and walks as they were when it looked last."""

    def __init__(self, findings: FindingTable, walks: WalkTable, clock: Callable[[], float]) -> None:
        self._findings = findings
        self._walks = walks
        self._clock = clock
        self._actions: Counter[str] = Counter()
        self._counts: Mapping[str, int] = {}
        self._oldest: Mapping[WalkKind, float] = {}

    def count(self, action: str) -> None:
        """Count an action of a check."""
        self._actions[action] += 1

    async def look(self) -> None:
        """Read anew what is shown. Raises DatabaseUnavailable."""
        self._counts = await self._findings.counts()
        self._oldest = await self._walks.oldest()

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Findings, the age of the oldest walk that came to its end, and actions."""
        findings = GaugeMetricFamily("cephstorage_findings", "Keys that are not as they should be", labels=["kind"])
        for kind in FindingKind:
            findings.add_metric([kind.value], self._counts.get(kind.value, 0))
        age = GaugeMetricFamily(
            "cephstorage_walk_age_seconds",
            "Since the last whole walk over the bucket where it is longest ago",
            labels=["kind"],
        )
        for each, begun in self._oldest.items():
            age.add_metric([each.value], round(self._clock() - begun, 1))
        actions = CounterMetricFamily(
            "cephstorage_consistency_actions", "What checks of keys have done", labels=["action"]
        )
        for action, times in self._actions.items():
            actions.add_metric([action], times)
        yield from (findings, age, actions)
