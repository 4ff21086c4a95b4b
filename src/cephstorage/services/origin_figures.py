"""How the origins of mirrors do, in Prometheus' text format: circuit breakers, requests under way and how they ended."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cephstorage.domain.origins import Circuit
from cephstorage.domain.urls import without_credentials
from cephstorage.ports.origin import OriginStates

_LEVEL = {Circuit.CLOSED: 0, Circuit.HALF_OPEN: 1, Circuit.OPEN: 2}


class OriginFigures(Collector):
    """The series of one process."""

    def __init__(self, states: OriginStates) -> None:
        self._states = states

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Every origin that has been asked."""
        names = ["mirror", "origin"]
        circuit = GaugeMetricFamily("cephstorage_origin_circuit", "0 closed, 1 half-open, 2 open", labels=names)
        wait = GaugeMetricFamily("cephstorage_origin_wait_seconds", "Until the origin is asked again", labels=names)
        running = GaugeMetricFamily("cephstorage_origin_running", "Requests under way", labels=names)
        waiting = GaugeMetricFamily("cephstorage_origin_waiting", "Requests that wait for their turn", labels=names)
        ended = CounterMetricFamily(
            "cephstorage_origin_requests", "Requests to origins by how they ended", labels=[*names, "end"]
        )
        for state in self._states.states():
            whose = [state.mirror, without_credentials(state.url)]
            circuit.add_metric(whose, _LEVEL[state.circuit])
            wait.add_metric(whose, round(state.wait, 1))
            running.add_metric(whose, state.running)
            waiting.add_metric(whose, state.waiting)
            for end, times in state.ends.items():
                ended.add_metric([*whose, end], times)
        yield from (circuit, wait, running, waiting, ended)
