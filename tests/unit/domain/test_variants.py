"""Variants: RFC 9111 section 4.1, RFC 9110 sections 12.5.3 to 12.5.5."""

from dataclasses import replace

import pytest

from cephstorage.domain.mirrors import Target
from cephstorage.domain.policy import DigestSource, Mode, Policy
from cephstorage.domain.variants import accepted_codings, alike, chosen_by, fill_headers, variant_of, variant_prefix

ORIGIN = Policy(mode=Mode.ORIGIN)
TARGET = Target("/a", "/a", "/a", "a")


@pytest.mark.parametrize(
    ("header", "codings"),
    [
        (None, "identity"),
        ("", "identity"),
        ("identity", "identity"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZip, Br", "br, gzip"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "br, gzip, zstd"),
        ("gzip;q=0", "identity"),
        ("gzip; q=0.000, br", "br"),
        ("*", "br, gzip, zstd"),
        ("*, gzip;q=0", "br, zstd"),
        ("deflate, compress, exi", "identity"),
        ("gzip;q=x", "identity"),
        ("gzip;;q=1, br", "br"),
    ],
)
def test_accept_encoding_in_one_spelling(header: str | None, codings: str) -> None:
    assert accepted_codings(header) == codings


def test_a_fill_in_mode_origin_shows_the_clients_headers_and_never_its_credentials() -> None:
    client = {"accept": "text/html", "accept-encoding": "gzip, deflate", "cookie": "c", "authorization": "a",
              "x-own": "1", "range": "bytes=0-1", "if-none-match": '"x"', "cache-control": "no-cache"}  # fmt: skip
    shown = (("accept", "text/html"), ("x-own", "1"), ("accept-encoding", "gzip"))
    assert fill_headers(ORIGIN, client) == shown
    assert fill_headers(replace(ORIGIN, pass_headers=("Cookie", "X-Own")), client) == shown
    assert fill_headers(Policy(), client) == ()
    digested = replace(ORIGIN, digest=DigestSource.SHA256)
    assert dict(fill_headers(digested, client))["accept-encoding"] == "identity"


SENT = (("accept-language", "de, en;q=0.5"), ("x-own", "A b"))


@pytest.mark.parametrize(
    ("vary", "other", "same"),
    [
        (None, (), True),
        ("", (), True),
        ("X-Else", (), True),
        ("Accept-Language", (), False),
        ("accept-language", (("Accept-Language", "DE,en; q=0.5"),), True),
        ("Accept-Language", (("accept-language", "en, de"),), False),
        ("X-Own", (("x-own", "A  b "),), True),
        ("X-Own", (("x-own", "a b"),), False),
        ("X-Own, Accept-Language", SENT[::-1], True),
        ("X-Own, Accept-Language", SENT[:1], False),
        ("*", SENT, False),
        ("X-Own, *", SENT, False),
    ],
)
def test_what_vary_tells_apart(vary: str | None, other: tuple[tuple[str, str], ...], same: bool) -> None:
    assert alike(chosen_by(vary, SENT), other) is same
    assert alike(chosen_by(vary, SENT), SENT) is ("*" not in (vary or ""))


def test_an_empty_header_is_not_an_absent_one() -> None:
    assert not alike(chosen_by("X-Own", [("x-own", "")]), ())


def test_a_variant_stands_under_a_key_and_a_target_of_its_own() -> None:
    values = chosen_by("Accept-Language", [("accept-language", "de")])
    first = variant_of(TARGET, values, [("accept-language", "en")])
    assert first.key is not None
    assert first.key.startswith(variant_prefix("a"))
    assert first.canonical.startswith("/a#")
    assert (first.raw, first.path) == (TARGET.raw, TARGET.path)
    assert variant_of(TARGET, values, [("accept-language", "EN"), ("accept", "x")]) == first
    assert variant_of(TARGET, values, ()).key != first.key
    assert variant_of(replace(TARGET, key="k" * 1020), values, ()).key is None
    assert variant_of(replace(TARGET, key=None), values, ()).key is None
