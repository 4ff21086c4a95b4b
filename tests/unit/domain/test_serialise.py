"""Domain values survive the way through JSON."""

import json

from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName
from cephstorage.domain.policy import HeaderChanges, Policy, Rule
from cephstorage.domain.records import OriginFacts, Precondition
from cephstorage.domain.serialise import from_json, from_json_or_none, to_json, to_json_or_none
from cephstorage.domain.transfers import Plan, SourceFacts, TransferRequest
from cephstorage.domain.validators import Validators

BUCKET = BucketName("alice", "photos")
# Any code point, lone surrogates included: origins send bytes that are no text.
TEXT = st.text(st.characters(), max_size=8)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
VALIDATORS = st.builds(Validators, st.none() | TEXT, st.none() | TEXT)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
ORIGIN = st.builds(OriginFacts, TEXT, PAIRS, VALIDATORS, st.none() | TEXT)
PAIR = st.tuples(TEXT, TEXT)
HEADERS = st.builds(HeaderChanges, st.lists(PAIR, max_size=2).map(tuple), st.lists(TEXT, max_size=2).map(tuple))
POLICY = st.builds(Policy, ttl=FLOAT, rewrite_links=st.none() | PAIR, response_headers=HEADERS)
RULE = st.builds(Rule, ttl=st.none() | FLOAT, rewrite_links=st.none() | PAIR, request_headers=st.none() | HEADERS)
VALUES = st.one_of(
    ORIGIN,
    st.builds(
        SourceFacts, TEXT, st.none() | st.integers(0), st.none() | TEXT, VALIDATORS, TEXT, st.none() | ORIGIN, PAIRS
    ),
    st.builds(Plan, st.integers(0), TEXT, TEXT, FLOAT, VALIDATORS, TEXT, TEXT, st.none() | ORIGIN),
    st.builds(TransferRequest, bucket=st.just(BUCKET), timetag=st.none() | FLOAT, rewrite_links=st.none() | PAIR),
    st.builds(Mirror, TEXT, st.just(BUCKET), TEXT, POLICY, st.lists(RULE, max_size=3).map(tuple)),
)


@given(VALUES)
def test_what_was_written_reads_back_equal(value: object) -> None:
    text = to_json(value)
    assert text.isascii()
    assert from_json(type(value), text) == value


def test_fields_that_stand_elsewhere_are_left_out_and_given_back() -> None:
    value = Plan(1, "m", "t", 2.5, Validators('"e"'), "v", "s")
    text = to_json(value, without=frozenset({"md5"}))
    assert "md5" not in json.loads(text)
    assert from_json(Plan, text, md5="m") == value


def test_null_stands_for_none() -> None:
    assert to_json_or_none(None) is None
    assert from_json_or_none(Plan, None) is None


def test_rows_of_older_and_newer_versions_are_read() -> None:
    assert from_json(OriginFacts, '{"target":"/a"}') == OriginFacts("/a")
    assert from_json(Precondition, '{"if_absent":true,"of_the_future":[1]}') == Precondition(if_absent=True)
    nested = '{"target":"/a","validators":{"etag":"x","of_the_future":1}}'
    assert from_json(OriginFacts, nested) == OriginFacts("/a", validators=Validators("x"))
