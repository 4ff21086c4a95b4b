"""MongoDB's Extended JSON: what mongoexport writes is read back, and nothing else."""

import contextlib
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.errors import InvalidDocument
from cephstorage.domain.extended_json import Moment, Opaque, read_document

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OID = "507f1f77bcf86cd799439011"
NAMES = st.sampled_from(["", "a", "b.c", "ü", "date", "oid$"])


def value_of(written: str) -> Any:
    return read_document(f'{{"a": {written}}}'.encode())["a"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (f'{{"$oid": "{OID}"}}', OID),
        ('{"$date": "2021-03-04T05:06:07.089Z"}', Moment(1614834367.089)),
        ('{"$date": "2021-03-04T05:06:07Z"}', Moment(1614834367.0)),
        ('{"$date": "2021-03-04T07:06:07.000+0200"}', Moment(1614834367.0)),
        ('{"$date": {"$numberLong": "1614834367089"}}', Moment(1614834367.089)),
        ('{"$date": 1614834367089}', Moment(1614834367.089)),
        ('{"$date": {"$numberLong": "-1"}}', Moment(-0.001)),
        ('{"$numberLong": "9223372036854775807"}', 2**63 - 1),
        ('{"$numberLong": "-9223372036854775808"}', -(2**63)),
        ('{"$numberInt": "-5"}', -5),
        ('{"$numberDouble": "1.5"}', 1.5),
        ('{"$numberDecimal": "12"}', 12),
        ('{"$numberDecimal": "12.5"}', 12.5),
        ('{"$numberDecimal": "1E+6144"}', math.inf),
        ('{"$numberDecimal": "-1E+6144"}', -math.inf),
        ('{"$timestamp": {"t": 1614834367, "i": 1}}', Moment(1614834367.0)),
        ('{"$uuid": "3b241101-e2bb-4255-8caf-4136c566a962"}', "3b241101-e2bb-4255-8caf-4136c566a962"),
        ('{"$binary": {"base64": "AA==", "subType": "00"}}', Opaque("$binary")),
        ('{"$ref": "c", "$id": 1}', Opaque("$ref")),
        ('{"$minKey": 1}', Opaque("$minKey")),
        ("12", 12),
        ("12.5", 12.5),
        ("null", None),
        ('{"b": [{"$numberInt": "1"}]}', {"b": [1]}),
    ],
)
def test_a_value_means_what_mongodb_says(written: str, meant: Any) -> None:
    assert value_of(written) == meant


def test_what_is_no_number_stays_none() -> None:
    assert math.isnan(value_of('{"$numberDouble": "NaN"}'))
    assert value_of('{"$numberDouble": "-Infinity"}') == -math.inf


@pytest.mark.parametrize(
    "written",
    [
        '{"$oid": "short"}',
        '{"$oid": 5}',
        '{"$date": "yesterday"}',
        '{"$date": true}',
        '{"$date": {"$numberLong": "99999999999999999"}}',
        '{"$numberLong": "9223372036854775808"}',
        '{"$numberLong": "1e3"}',
        '{"$numberLong": 5}',
        '{"$numberInt": "2147483648"}',
        '{"$numberDouble": "x"}',
        '{"$numberDecimal": "x"}',
        '{"$timestamp": 5}',
        '{"$numberLong": "١"}',
        "NaN",
        "Infinity",
        "9" * 5000,
        "[" * 100_000,
        '{"b": 1, "b": 2}',
    ],
)
def test_what_can_not_be_is_refused(written: str) -> None:
    with pytest.raises(InvalidDocument):
        value_of(written)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'[{"key": "a"}]', "--jsonArray"),
        (b"{", "--pretty"),
        (b'{"key": "\xff"}', "UTF-8"),
        (b"5", "no document"),
        (b"", "no JSON"),
        ("{}".encode("utf-16"), "UTF-8"),
    ],
)
def test_a_line_that_is_no_document_is_refused_with_what_to_do(line: bytes, said: str) -> None:
    with pytest.raises(InvalidDocument, match=re.escape(said)):
        read_document(line)


def canonical(value: Any) -> Any:
    """A value as mongoexport --jsonFormat=canonical writes it."""
    match value:
        case bool() | None | str():
            return value
        case int():
            return {"$numberInt": str(value)} if -(2**31) <= value < 2**31 else {"$numberLong": str(value)}
        case float():
            return {"$numberDouble": repr(value)}
        case datetime():
            return {"$date": {"$numberLong": str((value - EPOCH) // timedelta(milliseconds=1))}}
        case list():
            return [canonical(each) for each in value]
        case _:
            return {name: canonical(each) for name, each in value.items()}


def relaxed(value: Any) -> Any:
    """The same as --jsonFormat=relaxed, which is the default: only dates of 1970 to 9999 are texts."""
    match value:
        case datetime() if value >= EPOCH:
            return {"$date": value.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        case datetime():
            return canonical(value)
        case list():
            return [relaxed(each) for each in value]
        case dict():
            return {name: relaxed(each) for name, each in value.items()}
        case _:
            return value


def meant(value: Any) -> Any:
    match value:
        case datetime():
            return Moment((value - EPOCH).total_seconds())
        case list():
            return [meant(each) for each in value]
        case dict():
            return {name: meant(each) for name, each in value.items()}
        case _:
            return value


MOMENTS = st.integers(-62_135_596_800_000, 253_402_300_799_999).map(lambda ms: EPOCH + timedelta(milliseconds=ms))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=8)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | MOMENTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_both_forms_are_read_as_what_was_exported(document: dict[str, Any]) -> None:
    for form in (canonical, relaxed):
        assert read_document(json.dumps(form(document)).encode()) == meant(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$oid", "$date", "$numberLong", "$numberInt", "$numberDecimal", "$timestamp", "$x", "a"]),
            inner,
            max_size=2,
        )
    ),
    max_leaves=6,
)


@given(st.one_of(st.binary(max_size=60), JSON.map(lambda value: json.dumps({"a": value}).encode())))
def test_whatever_a_line_holds_it_is_read_or_refused(line: bytes) -> None:
    with contextlib.suppress(InvalidDocument):
        assert isinstance(read_document(line), dict)
