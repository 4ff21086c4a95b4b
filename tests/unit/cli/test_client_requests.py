"""What is asked for is what is sent; what no request can carry is said as such, before anything is."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from cephstorage_client import ApiError, Client, InvalidArgument, Lifecycle
from tests.harness.receiver import Receiver

FOR_A_NUMBER_OF_DAYS: Lifecycle = {"rules": [], "trash_days": float("nan"), "trash_overwritten": False}
CALLS: dict[str, Callable[[Client], Any]] = {
    "a header": lambda client: client.put_stream("a", "b", "k", io.BytesIO(b"x"), metadata={"color": "bl\xe4u"}),
    "an address": lambda client: list(client.trash("a", "b", "\udcff")),
    "an address of an export": lambda client: list(client.export("a", "b", prefix="\udcff")),
    "a text": lambda client: client.restore_key("a", "b", "\udcff"),
    "a number": lambda client: client.set_lifecycle("a", "b", FOR_A_NUMBER_OF_DAYS),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_can_not_be_sent_is_refused(name: str) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(InvalidArgument, match="can't be sent"):
        CALLS[name](client)


@pytest.mark.parametrize("token", ["cs_secret\r", "cs_\nsecret", "cs_s\u00e9cret", "cs_secret\x00"])
def test_a_token_that_can_not_be_sent_is_not_shown(token: str) -> None:
    """A file with an end of line of another system is read so; the error goes into somebody's log."""
    with pytest.raises(InvalidArgument, match="can't be sent") as refused:
        Client("http://127.0.0.1:9", token)
    assert "cret" not in str(refused.value)


ANSWERED_NO: dict[str, tuple[Callable[[Client], Any], dict[str, Any]]] = {
    "/ceph/a/b/following": (lambda client: client.follow_bucket("a", "b", persistent=False), {"persistent": False}),
    "/mirrors/host": (lambda client: client.put_mirror("m.x", "o.x", "a___b", heuristic=False), {"heuristic": False}),
    "/mirrors/verify": (lambda client: client.verify("m.x", repair=False), {"repair": False}),
    "/mirrors/warm": (lambda client: client.warm("m.x", []), {"targets": []}),
}


@pytest.mark.parametrize("path", ANSWERED_NO)
def test_a_no_is_said_and_so_is_nothing_at_all(path: str) -> None:
    """Where the default is another one, leaving it out would mean the contrary."""
    call, said = ANSWERED_NO[path]
    with Receiver() as receiver, Client(f"http://127.0.0.1:{receiver.port}") as client:
        receiver.answer = lambda _: 404
        with pytest.raises(ApiError):
            call(client)
        (sent,) = receiver.seen(path)
    assert sent.event.items() >= said.items()
