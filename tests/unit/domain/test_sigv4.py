"""Signature Version 4 against botocore's, an implementation that RGW is tested with every day."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Known
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.sigv4 import Credentials, authorised, path_of, presigned, query_of
from cephstorage.store.ceph.config import base_of, host_of
from tests.harness.names import NASTY_KEYS

KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "default")
MOMENT = 1_750_000_000.0
STAMP = "20250615T150640Z"
HOST = "127.0.0.1:7480"
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


class _S3(auth.S3SigV4Auth):
    """Signs without a body's hash, as ours does."""

    def payload(self, request: Any) -> str:
        return "UNSIGNED-PAYLOAD"


class _S3Query(auth.S3SigV4QueryAuth):
    pass


def known_signature(method: str, path: str, query: str, headers: dict[str, str]) -> str:
    request = AWSRequest(method=method, url=f"http://{HOST}{path}{'?' if query else ''}{query}", headers=headers)
    request.context["timestamp"] = STAMP
    signer = _S3(Known(KEYS.access_key, KEYS.secret_key), "s3", KEYS.region)
    request.headers["X-Amz-Date"] = STAMP
    request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    canonical = signer.canonical_request(request)
    return str(signer.signature(signer.string_to_sign(request, canonical), request))


def ours(method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str]) -> str:
    signed = authorised(KEYS, method, path, query, {"host": HOST, **headers}, MOMENT)
    return signed["authorization"].rpartition("Signature=")[2]


@pytest.mark.parametrize("key", NASTY_KEYS.values(), ids=NASTY_KEYS)
def test_nasty_keys(key: str) -> None:
    path = path_of("alice___photos", key)
    assert ours("PUT", path, [], {"x-amz-meta-a": "b"}) == known_signature("PUT", path, "", {"x-amz-meta-a": "b"})


@given(NAMES, st.lists(st.tuples(NAMES, NAMES), max_size=4, unique_by=lambda pair: pair[0]))
def test_any_key_and_query(key: str, query: list[tuple[str, str]]) -> None:
    path = path_of("b", key)
    assert ours("GET", path, query, {}) == known_signature("GET", path, query_of(query), {})


def test_a_presigned_get() -> None:
    path, query = path_of("b", "a b/ü"), [("versionId", "x._-Y")]
    with patch.object(auth, "get_current_datetime", return_value=datetime.fromtimestamp(MOMENT, UTC)):
        request = AWSRequest(method="GET", url=f"http://{HOST}{path}?{query_of(query)}")
        _S3Query(Known(KEYS.access_key, KEYS.secret_key), "s3", KEYS.region, expires=3600).add_auth(request)
    target = presigned(KEYS, HOST, path, query, MOMENT, 3600)
    known = urlsplit(str(request.url))
    assert urlsplit(target).path == known.path
    assert sorted(parse_qsl(urlsplit(target).query)) == sorted(parse_qsl(known.query))


def test_no_secret_is_shown() -> None:
    assert KEYS.secret_key not in repr(KEYS)


@pytest.mark.parametrize(
    ("address", "host", "base"),
    [
        ("http://rgw.example:7480", "rgw.example:7480", "http://rgw.example:7480"),
        ("http://rgw.example:80", "rgw.example", "http://rgw.example"),
        ("https://rgw.example:443/", "rgw.example", "https://rgw.example"),
        ("https://rgw.example:80", "rgw.example:80", "https://rgw.example:80"),
        ("http://[2001:db8::1]:7480", "[2001:db8::1]:7480", "http://[2001:db8::1]:7480"),
        ("http://[2001:db8::1]", "[2001:db8::1]", "http://[2001:db8::1]"),
    ],
)
def test_the_host_is_what_http_clients_send(address: str, host: str, base: str) -> None:
    assert (host_of(address), base_of(address)) == (host, base)
