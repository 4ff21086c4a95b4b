"""The client's names in URLs: its own rule equals the service's, and the HTTP client leaves them alone."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.names import decode_target
from cephstorage.domain.names import encode_key as service_encode_key
from cephstorage_client import InvalidArgument, encode_key
from cephstorage_client.connection import key_path
from cephstorage_client.uploads import content_md5
from tests.harness.names import NASTY_KEYS

PATHS = st.lists(st.sampled_from(["/", ".", "..", "a", "%", "é", "+"]), max_size=12).map("".join)
KEYS = pytest.mark.parametrize("key", NASTY_KEYS.values(), ids=NASTY_KEYS.keys())


@KEYS
def test_client_and_service_write_keys_alike(key: str) -> None:
    assert encode_key(key) == service_encode_key(key)


@given(key=PATHS)
def test_client_and_service_write_any_path_alike(key: str) -> None:
    assert encode_key(key) == service_encode_key(key)


@KEYS
def test_the_key_reaches_the_wire_as_it_is(key: str) -> None:
    target = httpx.Request("GET", "http://127.0.0.1:1" + key_path("alice", "photos", key)).url.raw_path
    prefix = b"/ceph/alice/photos/keys/"
    assert target.startswith(prefix)
    assert decode_target(target.removeprefix(prefix)) == key


@pytest.mark.parametrize("key", ["", "a\ud800"])
def test_what_can_not_be_sent_is_refused(key: str) -> None:
    with pytest.raises(InvalidArgument):
        key_path("alice", "photos", key)


def test_content_md5() -> None:
    assert content_md5("d41d8cd98f00b204e9800998ecf8427e") == "1B2M2Y8AsgTpgAmY7PhCfg=="
    for text in ("", "d41d", "z" * 32):
        with pytest.raises(InvalidArgument):
            content_md5(text)
