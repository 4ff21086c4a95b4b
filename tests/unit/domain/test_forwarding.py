"""Which of a client's headers an origin sees."""

import pytest

from cephstorage.domain.credential_names import is_credential
from cephstorage.domain.forwarding import forwarded


@pytest.mark.parametrize(
    "name",
    ["authorization", "cookie", "cookie2", "x-api-key", "apikey", "x-auth-token", "private-token",
     "x-amz-security-token", "x-session-id", "x-secret", "job_token", "x-csrf-token", "x-signature-v2", "authentication-token"],
)  # fmt: skip
def test_credentials_by_name(name: str) -> None:
    assert is_credential(name)
    assert forwarded({name: "x"}, ()) == ()
    assert forwarded({name: "x"}, (name.upper(),)) == ((name, "x"),)


@pytest.mark.parametrize("name", ["accept", "author", "user-agent", "x-keyed", "x-tokenizer", "origin", "x-cookies-ok"])
def test_what_is_none(name: str) -> None:
    assert not is_credential(name)
    assert forwarded({name: "x"}, ()) == ((name, "x"),)


@pytest.mark.parametrize(
    "name",
    ["host", "content-length", "expect", "via", "cdn-loop", "accept-encoding", "te", "upgrade", "transfer-encoding",
     "keep-alive", "x-forwarded-for", "x-real-ip", "forwarded", "x-cephstorage-edge", "cephstorage-forwarded"],
)  # fmt: skip
def test_what_belongs_to_this_hop_or_tells_on_the_client(name: str) -> None:
    assert forwarded({name: "x"}, ()) == ()


def test_what_connection_names_goes_no_further_whatever_a_rule_says() -> None:
    """RFC 9110 section 7.6.1."""
    headers = {"connection": "close, X-Hop", "x-hop": "1", "x-end": "2"}
    assert forwarded(headers, ("X-Hop",)) == (("x-end", "2"),)


def test_more_may_be_left_out() -> None:
    assert forwarded({"range": "bytes=0-", "accept": "*/*"}, (), without=("range",)) == (("accept", "*/*"),)
