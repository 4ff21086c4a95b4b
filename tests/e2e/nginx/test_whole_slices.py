"""A proxy that dies inside a slice never makes nginx send wrong bytes: what comes is a prefix, and the end is cut.

nginx's slice filter would go on with the next slice in the same response. The first slice may be streamed,
because nothing of the answer follows a broken one; later ones pass the stage.
"""

import pytest

from tests.e2e.nginx.wire import Wire
from tests.harness.content import MIB, Content

SIZE = 6 * MIB + 400_000
BODY = Content(3, SIZE)


def test_slices_come_together(wire: Wire) -> None:
    wire.put("/together", BODY, keep=60)
    assert wire.ask("/together").body == BODY.read()
    asked = [entry.headers["range"] for entry in wire.proxy.logged("/together")]
    assert asked == [f"bytes={start}-{start + MIB - 1}" for start in range(0, SIZE, MIB)]


@pytest.mark.parametrize("keep", [60, 0], ids=["kept", "not-kept"])
@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("number", [0, 1, 3, 6])
@pytest.mark.parametrize("after", [0, 1, 300_000])
def test_a_proxy_dies_inside_a_slice(wire: Wire, number: int, how: str, keep: int, after: int) -> None:
    path = f"/dies-{number}-{how}-{keep}-{after}"
    start = number * MIB

    def dies(request: object) -> int | None:
        ours = request.headers["range"].startswith(f"bytes={start}-")
        return after if ours else None

    wire.put(path, BODY, keep=keep, die_after=dies, how=how)
    answer = wire.ask(path)
    if answer.status == 200:
        assert answer.headers["content-length"] == str(SIZE)
        assert len(answer.body) < SIZE
        assert answer.body == BODY.read(0, len(answer.body))
        assert len(answer.body) <= start + after
    else:
        assert (answer.status, number) == (503, 0)
    wire.put(path, BODY, keep=keep)
    assert wire.ask(path).body == BODY.read()


def test_a_range_that_begins_in_a_broken_slice(wire: Wire) -> None:
    wire.put("/broken-range", BODY, keep=60, die_after=1000)
    answer = wire.ask("/broken-range", headers=[("Range", f"bytes={2 * MIB + 5}-")])
    assert answer.status in {206, 500, 502, 503}
    if answer.status == 206:
        assert answer.body == BODY.read(2 * MIB + 5, 2 * MIB + 5 + len(answer.body))
        assert len(answer.body) < SIZE - 2 * MIB - 5


def test_an_object_that_changes_between_slices_is_cut(wire: Wire) -> None:
    wire.put("/changes", BODY, keep=60, change_after_requests=2, changed_body=Content(4, SIZE))
    answer = wire.ask("/changes")
    assert answer.body == BODY.read(0, len(answer.body))
    assert len(answer.body) <= 2 * MIB


def test_an_edge_that_loses_its_own_stage_cuts_the_answer(own: Wire) -> None:
    """nginx's own error page is no slice. It is never made: a client that reads slowly could get some of it."""
    own.put("/lost", BODY)
    (own.edge.run_dir / "stage.sock").unlink()
    answer = own.ask("/lost")
    assert answer.status == 200
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.body == BODY.read(0, len(answer.body))
    assert len(answer.body) < SIZE
    assert "missing slice response" not in (own.edge.run_dir / "error.log").read_text()


def test_a_slice_that_is_refused_cuts_the_answer(wire: Wire) -> None:
    wire.put("/refused", BODY, keep=60, status=lambda request: 200 if "bytes=0-" in request.headers["range"] else 503)
    answer = wire.ask("/refused")
    assert answer.body == BODY.read(0, MIB)


@pytest.mark.parametrize("status", [404, 403, 410, 500, 503])
def test_an_error_to_a_range_that_begins_later_is_passed_on(wire: Wire, status: int) -> None:
    wire.put(f"/error-{status}", b"sorry", status=status)
    answer = wire.ask(f"/error-{status}", headers=[("Range", "bytes=5000000-5000001")])
    assert (answer.status, answer.body) == (status, b"sorry")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_whole_answer_to_a_slice_that_begins_later(wire: Wire, framing: str) -> None:
    wire.put(f"/whole-{framing}", BODY, keep=0, ranges=False, framing=framing)
    answer = wire.ask(f"/whole-{framing}", headers=[("Range", f"bytes={3 * MIB}-")])
    assert (answer.status, answer.body) == (200, BODY.read())


def test_a_redirect_is_passed_on(wire: Wire) -> None:
    wire.put("/moved", b"", redirect="http://elsewhere.test/x")
    for headers in ([], [("Range", "bytes=5000000-")]):
        answer = wire.ask("/moved", headers=headers)
        assert (answer.status, answer.headers["location"]) == (302, "http://elsewhere.test/x")
