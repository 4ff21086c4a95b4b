"""What becomes of a fill whose clients have left: finished, or dropped, by a rule and by how much of it is there."""

from collections.abc import Callable

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.patience import until

BODY = Content(1, 8 * MIB)


def leave_in_the_middle(site: Site, path: str, after: int, gate: Gate, framing: str = "length") -> None:
    """A client reads ``after`` bytes, all that the origin sends before the gate, and leaves."""
    site.put(path, BODY, gate=gate, gate_after=after, framing=framing)
    with site.open(path) as answer:
        assert answer.read(after) == BODY.read()[:after]
        assert site.explain(path)["filling"]


@pytest.mark.stacks("direct")  # an edge leaves only after its client has had no slice for half a minute
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_fill_that_nobody_reads_is_dropped(site: Site, framing: str) -> None:
    site.order(rules=[{"path": "/a", "finish_from": 100}])
    gate = Gate()
    leave_in_the_middle(site, "/a", 2 * MIB, gate, framing)
    assert site.settled("/a")["record"] is None
    gate.set()
    assert site.get("/a").body == BODY.read()
    assert site.stored("a")["md5"] == BODY.md5
    assert site.count("/a") == 2


@pytest.mark.stacks("direct")
@pytest.mark.parametrize(("least", "kept"), [(25, True), (26, False)])
def test_a_fill_of_which_enough_is_there_is_finished(site: Site, least: int, kept: bool) -> None:
    site.order(finish_from=least)
    gate = Gate()
    leave_in_the_middle(site, "/a", 2 * MIB, gate)
    if not kept:
        assert site.settled("/a")["record"] is None
    gate.set()
    if kept:
        assert site.stored("a")["md5"] == BODY.md5
        assert site.count("/a") == 1


def test_without_a_rule_a_fill_is_finished(site: Site) -> None:
    gate = Gate()
    leave_in_the_middle(site, "/a", 2 * MIB, gate)
    gate.set()
    assert site.stored("a")["md5"] == BODY.md5
    assert site.count("/a") == 1


def test_a_fill_that_somebody_else_reads_goes_on(site: Site) -> None:
    site.order(finish_from=100)
    gate = Gate()
    site.put("/a", BODY, gate=gate, gate_after=2 * MIB)
    with site.open("/a") as stays:
        with site.open("/a") as leaves:
            leaves.read(MIB)
        gate.set()
        assert stays.rest() == BODY.read()
    assert site.stored("a")["md5"] == BODY.md5
    assert site.count("/a") == 1


@pytest.mark.stacks("direct")
def test_a_fill_that_is_whole_lands_though_its_reader_leaves(site: Site) -> None:
    """The client takes its time; the origin does not."""
    site.order(finish_from=100)
    site.put("/a", BODY)
    with site.open("/a") as answer:
        answer.read(MIB)
        assert site.stored("a")["md5"] == BODY.md5
    assert site.get("/a").body == BODY.read()


@pytest.mark.stacks("direct")
def test_a_warm_up_is_finished_though_nobody_reads(own_site: Callable[..., Site]) -> None:
    site = own_site()
    site.order(finish_from=100)
    site.put("/a", BODY, rate=2 * MIB)
    site.service.json("POST", "/mirrors/warm", {"mirror": site.host, "targets": ["/a"]})
    assert until(lambda: site.record("a"))["md5"] == BODY.md5
    assert site.count("/a") == 1
