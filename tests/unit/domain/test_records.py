"""Records: creation times as callers write them, preconditions, public validators."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.errors import InvalidTimetag
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import NO_PRECONDITION, Precondition, Record, key_validators, parse_timetag
from cephstorage.domain.validators import Validators

LATEST = 253402300799


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        ("0", 0.0),
        (784111777, 784111777.0),
        ("784111777.5", 784111777.5),
        (784111777.5, 784111777.5),
        (LATEST, float(LATEST)),
        ("1994-11-06T08:49:37Z", 784111777.0),
        ("1994-11-06T08:49:37", 784111777.0),
        ("1994-11-06 08:49:37", 784111777.0),
        ("1994-11-06T09:49:37+01:00", 784111777.0),
        ("1994-11-06", 784080000.0),
        ("9999-12-31T23:59:59Z", float(LATEST)),
    ],
)
def test_timetags(value: str | float | None, seconds: float | None) -> None:
    assert parse_timetag(value) == seconds


@pytest.mark.parametrize(
    "value",
    ["yesterday", " ", "nan", "inf", "-inf", "-1", -1, -0.1, LATEST + 1, "1e400", 10**400, "1969-12-31T23:59:59Z", "0001-01-01",
     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1994-13-01", "Sun, 06 Nov 1994 08:49:37 GMT", "\udcff"],
)  # fmt: skip
def test_other_timetags_are_refused(value: str | float) -> None:
    with pytest.raises(InvalidTimetag):
        parse_timetag(value)


@given(st.text() | st.floats() | st.integers())
def test_any_other_value_is_read_or_refused(value: str | float) -> None:
    try:
        seconds = parse_timetag(value)
    except InvalidTimetag:
        return
    assert seconds is None or 0 <= seconds <= LATEST


@given(st.integers(0, LATEST))
def test_every_legal_creation_time_has_a_date(seconds: int) -> None:
    modified = key_validators("0" * 32, float(seconds)).last_modified
    assert modified is not None
    assert modified.endswith(" GMT")


def test_public_validators_of_a_key() -> None:
    md5 = "b10a8db164e0754105b7a99be72e3fe5"
    assert key_validators(md5, 784111777.9) == Validators(f'"{md5}"', "Sun, 06 Nov 1994 08:49:37 GMT")


@pytest.mark.parametrize(
    ("precondition", "etag", "exists", "holds"),
    [
        (NO_PRECONDITION, None, False, True),
        (NO_PRECONDITION, '"a"', True, True),
        (Precondition(if_absent=True), None, False, True),
        (Precondition(if_absent=True), '"a"', True, False),
        (Precondition(if_absent=True), None, True, False),
        (Precondition(if_match='"a"'), '"a"', True, True),
        (Precondition(if_match="a"), '"a"', True, True),
        (Precondition(if_match=" a "), '"a"', True, True),
        (Precondition(if_match='"x", "a"'), '"a"', True, True),
        (Precondition(if_match='"x"'), '"a"', True, False),
        (Precondition(if_match='"a"'), None, False, False),
        (Precondition(if_match="*"), '"a"', True, True),
        (Precondition(if_match="*"), None, True, True),
        (Precondition(if_match="*"), None, False, False),
        (Precondition(if_match=""), None, True, False),
        (Precondition(if_match='""'), None, True, False),
        (Precondition(if_match='W/"a"'), 'W/"a"', True, False),
        (Precondition(if_match="a"), 'W/"a"', True, False),
        (Precondition(if_absent=True, if_match="*"), '"a"', True, False),
        (Precondition(if_absent=True, if_match="*"), None, False, False),
    ],
)
def test_preconditions(precondition: Precondition, etag: str | None, exists: bool, holds: bool) -> None:
    assert precondition.holds(etag, exists=exists) == holds


def test_a_record_knows_its_folder_and_its_public_validators() -> None:
    record = Record(BucketName("a", "b"), "x/y/z", 0.0, "0" * 32, "text/plain", 1, 1, '"e"', None, "v", "upload", 0.0)
    assert record.vfolder == "x/y"
    assert record.validators == Validators('"e"', None)
