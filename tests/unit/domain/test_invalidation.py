"""What a write makes invalid: RFC 9111 section 4.4."""

import pytest

from cephstorage.domain.invalidation import invalidated
from cephstorage.domain.mirrors import Mirror, read_target
from cephstorage.domain.names import BucketName

MIRROR = Mirror("m.test", BucketName("mirrors", "site"), "http://origin.test/app")
TARGET, POLICY = read_target("/list", "page=2", MIRROR)


def of(method: str, status: int, **headers: str) -> tuple[str, ...]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return invalidated(MIRROR, POLICY, method, TARGET, status, named)


@pytest.mark.parametrize("status", [200, 201, 204, 301, 303, 304, 399])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "MKCOL"])
def test_a_write_that_went_well_makes_its_target_invalid(method: str, status: int) -> None:
    assert of(method, status) == ("/list?page=2",)


@pytest.mark.parametrize(("method", "status"), [("POST", 400), ("POST", 500), ("PUT", 404), ("POST", 100),
                                                ("GET", 200), ("HEAD", 200), ("OPTIONS", 200), ("TRACE", 200)])  # fmt: skip
def test_errors_and_safe_methods_do_not(method: str, status: int) -> None:
    assert of(method, status, location="/app/a") == ()


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("http://origin.test/app/made", "/made"),
        ("/app/made?x=1", "/made?x=1"),
        ("made", "/made"),
        ("http://origin.test/app/made#part", "/made"),
        ("http://m.test/made", "/made"),
        ("http://other.test/app/made", None),
        ("//other.test/made", None),
        ("https://origin.test/app/made", None),
        ("http://origin.test:81/app/made", None),
        ("http://[", None),
        ("", "/list?page=2"),
    ],
)
def test_other_places_of_the_same_origin_too(reference: str, place: str | None) -> None:
    expected = tuple(dict.fromkeys(each for each in ("/list?page=2", place) if each is not None))
    assert of("POST", 201, location=reference) == expected
    assert of("POST", 201, content_location=reference) == expected
