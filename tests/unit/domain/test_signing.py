"""Published URLs: what the signature binds, and that nothing a stranger sends breaks the check."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.errors import SignatureInvalid
from cephstorage.domain.names import BucketName, decode_target
from cephstorage.domain.signing import check, published_url, sign
from tests.harness.names import NASTY_KEYS

SECRET = b"first signing key"
BUCKET = BucketName("alice", "photos")
KEY, EXPIRES, NOW = "a/b.txt", 2000, 1000.0
SIGNATURE = sign(SECRET, "GET", BUCKET, KEY, EXPIRES)


def accepts(
    secret: bytes = SECRET,
    method: str = "GET",
    bucket: BucketName = BUCKET,
    key: str = KEY,
    expires: str = str(EXPIRES),
    signature: str = SIGNATURE,
    now: float = NOW,
) -> bool:
    try:
        check(secret, method, bucket, key, expires, signature, now)
    except SignatureInvalid:
        return False
    return True


def test_the_signed_request_is_accepted() -> None:
    assert accepts()


def test_head_uses_the_signature_of_get() -> None:
    assert accepts(method="HEAD")
    assert sign(SECRET, "HEAD", BUCKET, KEY, EXPIRES) == SIGNATURE


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "get", ""])
def test_it_is_bound_to_the_method(method: str) -> None:
    assert not accepts(method=method)


@pytest.mark.parametrize(
    "key", ["a/b.txt2", "a/B.txt", "a//b.txt", "a/./b.txt", "/a/b.txt", "a%2Fb.txt", "", "a/b.txt\n"]
)
def test_it_is_bound_to_the_key(key: str) -> None:
    assert not accepts(key=key)


def test_it_is_bound_to_tenant_and_bucket() -> None:
    assert not accepts(bucket=BucketName("alice", "photos2"))
    assert not accepts(bucket=BucketName("bob", "photos"))


@pytest.mark.parametrize("expires", ["2001", "1999", "9999", "02000", "+2000", " 2000", "2000 ", "2_000", "2000.0", "2e3", "-1",
                                     "", "٢٠٠٠", "²", "1" * 13, "2000\n"])  # fmt: skip
def test_it_is_bound_to_the_expiry_as_written(expires: str) -> None:
    assert not accepts(expires=expires)


def test_it_ends_when_it_expires() -> None:
    assert accepts(now=2000.0)
    assert not accepts(now=2000.001)


def test_rotating_the_secret_revokes_it() -> None:
    assert not accepts(secret=b"second signing key")


@pytest.mark.parametrize("position", range(len(SIGNATURE)))
def test_any_changed_letter_fails(position: int) -> None:
    letter = "A" if SIGNATURE[position] != "A" else "B"
    assert not accepts(signature=SIGNATURE[:position] + letter + SIGNATURE[position + 1 :])


@pytest.mark.parametrize("signature", ["", SIGNATURE[:-1], SIGNATURE + "=", SIGNATURE + "A", SIGNATURE.lower(), " " + SIGNATURE,
                                       "é", SIGNATURE + "é", "\udcff", "\ud800" * 43, "\0", "🎉"])  # fmt: skip
def test_other_signatures_are_refused_and_break_nothing(signature: str) -> None:
    assert not accepts(signature=signature)


def test_a_key_that_is_no_text_is_refused_and_breaks_nothing() -> None:
    assert not accepts(key="a\udcff")


@given(st.text(), st.text())
def test_nothing_a_stranger_sends_is_accepted(expires: str, signature: str) -> None:
    assert not accepts(expires=expires, signature=signature)


@pytest.mark.parametrize("key", NASTY_KEYS.values(), ids=NASTY_KEYS)
@pytest.mark.parametrize("address", ["http://storage.example", "https://storage.example:8443/", "http://h/prefix"])
def test_a_published_url_leads_back_to_its_key(address: str, key: str) -> None:
    parts = urlsplit(published_url(address, SECRET, BUCKET, key, EXPIRES))
    base, bucket, raw = parts.path.removeprefix("/prefix").lstrip("/").split("/", 2)
    query = parse_qs(parts.query, strict_parsing=True)
    assert (base, bucket, decode_target(raw.encode("ascii"))) == ("objects", "alice___photos", key)
    assert f"{parts.scheme}://{parts.netloc}" in address
    assert accepts(key=key, expires=query["expires"][0], signature=query["signature"][0])
