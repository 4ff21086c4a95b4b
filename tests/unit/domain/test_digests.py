"""Promised digests: every spelling that callers and origins use, and what promises nothing."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.digests import HASH_NAMES, Digest, caller_md5, declared_digests, parse_digest_field, parse_md5
from cephstorage.domain.errors import InvalidDigest

BODY = b"Hello World"
MD5 = hashlib.md5(BODY, usedforsecurity=False).digest()
SHA256 = hashlib.sha256(BODY).digest()
SHA512 = hashlib.sha512(BODY).digest()


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@given(st.binary(min_size=16, max_size=16))
def test_md5_reads_alike_from_hex_and_base64(value: bytes) -> None:
    assert parse_md5(value.hex()) == value.hex()
    assert parse_md5(value.hex().upper()) == value.hex()
    assert parse_md5(f" {b64(value)} ") == value.hex()


@pytest.mark.parametrize("text", [None, ""])
def test_no_md5_is_no_promise(text: str | None) -> None:
    assert parse_md5(text) is None
    assert caller_md5(parse_md5(text)) == ()


@pytest.mark.parametrize(
    "text", [" ", "x", "0" * 31, "0" * 33, "g" * 32, b64(MD5)[:-1], b64(SHA256), "é" * 32, "\udcff", "0" * 32 + "\n0"]
)
def test_other_md5s_are_refused(text: str) -> None:
    with pytest.raises(InvalidDigest):
        parse_md5(text)


def test_a_callers_md5_is_known_as_the_callers() -> None:
    assert caller_md5(MD5.hex()) == (Digest("md5", MD5, promised_by_caller=True),)


@pytest.mark.parametrize(
    ("field", "digests"),
    [
        (f"sha-256=:{b64(SHA256)}:", [Digest("sha-256", SHA256)]),
        (f"sha-512=:{b64(SHA512)}:", [Digest("sha-512", SHA512)]),
        (f" sha-256 = :{b64(SHA256)}: ", [Digest("sha-256", SHA256)]),
        (f"sha-256=:{b64(SHA256)}:;q=1", [Digest("sha-256", SHA256)]),
        (f"md5=:{b64(MD5)}:, sha-256=:{b64(SHA256)}:", [Digest("md5", MD5), Digest("sha-256", SHA256)]),
        (f"sha-256=:{b64(SHA256).rstrip('=')}:", [Digest("sha-256", SHA256)]),
        (f"sha-256=:{b64(SHA512[:32])}:, sha-256=:{b64(SHA256)}:", [Digest("sha-256", SHA256)]),
        ("unixsum=:GQU=:, crc32c=:AAAAAA==:", []),
    ],
)
def test_digest_fields(field: str, digests: list[Digest]) -> None:
    assert parse_digest_field(field) == digests


@pytest.mark.parametrize(
    "field",
    ["", "sha-256", "sha-256=abc", f"SHA-256=:{b64(SHA256)}:", f"sha-256={b64(SHA256)}", f"sha-256=:{b64(MD5)}:", "sha-256=:*:",
     "sha-256=::", f"sha-256=:{b64(SHA256)}:,"],
)  # fmt: skip
def test_broken_digest_fields(field: str) -> None:
    with pytest.raises(InvalidDigest):
        parse_digest_field(field)


@pytest.mark.parametrize(
    ("headers", "digests"),
    [
        ({}, ()),
        ({"repr-digest": f"sha-256=:{b64(SHA256)}:"}, (Digest("sha-256", SHA256),)),
        ({"content-digest": f"sha-512=:{b64(SHA512)}:"}, (Digest("sha-512", SHA512),)),
        ({"content-md5": b64(MD5)}, (Digest("md5", MD5),)),
        ({"x-goog-hash": f"crc32c=AAAAAA==, md5={b64(MD5)}"}, (Digest("md5", MD5),)),
        ({"x-goog-hash": f"crc32c=AAAAAA==,md5={b64(MD5)}"}, (Digest("md5", MD5),)),
        ({"x-goog-hash": f"md5={b64(MD5)}", "content-md5": b64(MD5)}, (Digest("md5", MD5),)),
        ({"content-md5": b64(MD5), "repr-digest": f"md5=:{b64(SHA256[:16])}:"},
         (Digest("md5", SHA256[:16]), Digest("md5", MD5))),
        ({"content-md5": MD5.hex()}, ()),
        ({"content-md5": "nonsense", "repr-digest": "nonsense", "x-goog-hash": "nonsense"}, ()),
        ({"etag": f'"{MD5.hex()}"'}, ()),
    ],
)  # fmt: skip
def test_what_an_answer_declares(headers: dict[str, str], digests: tuple[Digest, ...]) -> None:
    assert declared_digests(headers) == digests


@pytest.mark.parametrize(
    ("travels", "stored", "promised"),
    [
        (None, None, True),
        (None, "identity", True),
        ("gzip", "gzip", True),
        (None, "gzip", False),
        ("gzip", None, False),
    ],
)
def test_a_google_hash_is_of_the_bytes_as_stored(travels: str | None, stored: str | None, promised: bool) -> None:
    codings = {"content-encoding": travels, "x-goog-stored-content-encoding": stored}
    headers = {name: value for name, value in codings.items() if value} | {"x-goog-hash": f"md5={b64(MD5)}"}
    assert bool(declared_digests(headers)) == promised


@given(st.dictionaries(st.sampled_from(["repr-digest", "content-digest", "content-md5", "x-goog-hash"]), st.text()))
def test_no_header_of_an_origin_breaks_the_reader(headers: dict[str, str]) -> None:
    assert all(digest.algorithm in HASH_NAMES for digest in declared_digests(headers))


@pytest.mark.parametrize(("algorithm", "value"), [("md5", MD5), ("sha-256", SHA256), ("sha-512", SHA512)])
def test_every_algorithm_can_be_computed(algorithm: str, value: bytes) -> None:
    assert hashlib.new(HASH_NAMES[algorithm], BODY, usedforsecurity=False).digest() == value
