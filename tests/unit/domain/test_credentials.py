"""What origins are shown; and that a secret shows nowhere else."""

import base64
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Known

from cephstorage.domain.credentials import CredentialKind, Credentials, SealedCredentials

MOMENT = 1_750_000_000.0
SECRET = "hush-hush-very-secret"


class _Unsigned(S3SigV4Auth):
    def payload(self, request: object) -> str:
        return "UNSIGNED-PAYLOAD"


def test_basic() -> None:
    ((name, value),) = Credentials(CredentialKind.BASIC, "pä:ss", "usér").headers("GET", "http://o/", "o", MOMENT)
    assert (name, base64.b64decode(value.removeprefix("Basic ")).decode()) == ("Authorization", "usér:pä:ss")


def test_bearer_and_a_header_of_its_own() -> None:
    bearer = Credentials(CredentialKind.BEARER, SECRET)
    own = Credentials(CredentialKind.HEADER, SECRET, "X-Api-Key")
    assert bearer.headers("GET", "http://o/", "o", MOMENT) == (("Authorization", f"Bearer {SECRET}"),)
    assert own.headers("GET", "http://o/", "o", MOMENT) == (("X-Api-Key", SECRET),)


@pytest.mark.parametrize(
    "target", ["/b/k", "/b/a%20b%2Bc/%28d%29", "/b/~x?versionId=a%2Fb&x", "/b//a/../c", "/b/%C3%A9"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_s3_signs_what_a_known_implementation_signs(method: str, target: str) -> None:
    url = f"https://s3.example{target}"
    shown = dict(Credentials(CredentialKind.S3, SECRET, "AKID", "eu").headers(method, url, "s3.example", MOMENT))
    request = AWSRequest(method=method, url=url, headers={"Host": "s3.example"})
    request.context["timestamp"] = datetime.fromtimestamp(MOMENT, UTC).strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    signer = _Unsigned(Known("AKID", SECRET), "s3", "eu")
    wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert shown["authorization"].rpartition("=")[2] == wanted
    assert "host" not in shown


def test_a_raw_spelling_is_signed_as_the_store_encodes_it() -> None:
    keys = Credentials(CredentialKind.S3, SECRET, "AKID", "eu")
    raw, plain = (
        keys.headers("GET", f"https://s3.example/b/{path}", "s3.example", MOMENT) for path in ("a+(b)", "a%2B%28b%29")
    )
    assert raw == plain


def test_no_repr_shows_the_secret() -> None:
    for value in (Credentials(CredentialKind.BEARER, SECRET), SealedCredentials(CredentialKind.BEARER, SECRET)):
        assert SECRET not in f"{value} {value!r}"
