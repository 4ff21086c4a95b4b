"""Hops: URLs that travel byte for byte, and credentials that stay with their host."""

import base64

import pytest

from cephstorage.domain.errors import InvalidUrl, OriginProtocol
from cephstorage.origin.hops import first_hop

SECRETS = (
    ("Authorization", "Bearer abc"),
    ("Cookie", "s=1"),
    ("X-Api-Key", "k"),
    ("Accept", "text/html"),
    ("User-Agent", "me"),
)


@pytest.mark.parametrize(
    "url",
    [
        "http://h.example/a/../b",
        "http://h.example//a//",
        "http://h.example/%2F%41%7e~",
        "https://h.example:8443/?a=b&c=%20+",
        "http://h.example",
        "http://h.example?q",
        "http://[2001:db8::1]:81/x",
        "http://h.example/a@b",
    ],
)
def test_a_url_is_not_rewritten(url: str) -> None:
    assert first_hop(url, ()).url == url
    assert first_hop(url + "#part", ()).url == url


def test_userinfo_becomes_basic_authorization_and_leaves_the_url() -> None:
    hop = first_hop("http://us%40er:p%3Aw@h.example:81/a", (("authorization", "Bearer other"), ("Accept", "*/*")))
    assert hop.url == "http://h.example:81/a"
    assert dict(hop.headers) == {
        "Authorization": "Basic " + base64.b64encode(b"us@er:p:w").decode(),
        "Accept": "*/*",
    }
    assert "Basic" not in repr(hop)
    assert hop.name == "http://h.example:81"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "http://h.example:81/x"),
        ("x", "http://h.example:81/a/x"),
        ("HTTP://other.example/x", "http://other.example/x"),
        ("?q=1", "http://h.example:81/a/b?q=1"),
        ("//other.example/x", "http://other.example/x"),
        ("https://other.example/a/../%2F//x#frag", "https://other.example/a/../%2F//x"),
        ("/caf\xc3\xa9 au lait", "http://h.example:81/caf%C3%A9%20au%20lait"),
        ("/already%20escaped", "http://h.example:81/already%20escaped"),
    ],
)
def test_locations(location: str, url: str) -> None:
    assert first_hop("http://h.example:81/a/b", ()).redirected(location).url == url


@pytest.mark.parametrize(
    "location",
    [None, "", "ftp://h.example/x", "http://", "http://h.example:0/", "http://[::1", "mailto:a@b", "http:///x"],
)
def test_bad_locations_are_protocol_errors(location: str | None) -> None:
    with pytest.raises(OriginProtocol) as caught:
        first_hop("http://user:secret@h.example/a", ()).redirected(location)
    assert "secret" not in str(caught.value)
    assert "http://h.example" in caught.value.msg


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("/other", True),
        ("http://h.example/x", True),
        ("http://h.example:80/x", True),
        ("http://H.EXAMPLE/x", True),
        ("https://h.example/x", False),
        ("http://h.example:81/x", False),
        ("http://sub.h.example/x", False),
        ("http://other.example/x", False),
    ],
)
def test_only_the_same_scheme_host_and_port_get_the_credentials(location: str, kept: bool) -> None:
    headers = dict(first_hop("http://h.example/a", SECRETS).redirected(location).headers)
    assert headers == (dict(SECRETS) if kept else {"Accept": "text/html", "User-Agent": "me"})


def test_credentials_do_not_come_back_with_a_redirect_back() -> None:
    away = first_hop("http://u:p@h.example/a", SECRETS).redirected("http://other.example/")
    assert dict(away.redirected("http://h.example/").headers).keys() == {"Accept", "User-Agent"}


def test_a_location_may_bring_userinfo_of_its_own() -> None:
    hop = first_hop("http://h.example/a", SECRETS).redirected("http://v:w@other.example/")
    assert dict(hop.headers)["Authorization"] == "Basic " + base64.b64encode(b"v:w").decode()
    assert hop.url == "http://other.example/"


@pytest.mark.parametrize(
    "url", ["", "h.example/x", "file:///etc/passwd", "http://user:secret@", "http://a b/", "http://u:secret@h:x/"]
)
def test_what_is_no_url_is_refused_without_showing_userinfo(url: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        first_hop(url, ())
    assert "secret" not in str(caught.value)
