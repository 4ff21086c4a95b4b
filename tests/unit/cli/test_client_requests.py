"""What no request can carry is said as such, before anything is sent."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from cephstorage_client import Client, InvalidArgument, Lifecycle

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
