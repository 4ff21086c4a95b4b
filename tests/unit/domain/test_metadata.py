"""What a caller may say of a key, and how headers carry it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.errors import InvalidMetadata
from cephstorage.domain.metadata import MOST_BYTES, metadata_headers, metadata_in, metadata_of, usable_metadata

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@given(st.dictionaries(NAMES, VALUES, max_size=20))
def test_what_is_taken_comes_back_by_headers(given_names: dict[str, str]) -> None:
    kept = metadata_of(given_names)
    assert metadata_in(metadata_headers(kept)) == dict(kept) == given_names


@pytest.mark.parametrize("name", ["", "a b", "ä", "a_b", "-a", "a-", "a:b", "a\n", "x" * 129])
def test_names_that_no_header_carries_are_refused(name: str) -> None:
    with pytest.raises(InvalidMetadata):
        metadata_of({name: "x"})


@pytest.mark.parametrize("value", [" a", "a ", "a\nb", "a\x00", "ä", "\t"])
def test_values_that_no_header_carries_are_refused(value: str) -> None:
    with pytest.raises(InvalidMetadata):
        metadata_of({"a": value})
    assert usable_metadata({"a": value, "b": "x"}) == (("b", "x"),)


def test_case_makes_no_difference_to_names() -> None:
    assert metadata_of({"B": "1", "a": "2"}) == (("a", "2"), ("b", "1"))
    with pytest.raises(InvalidMetadata):
        metadata_of({"A": "1", "a": "2"})


def test_two_kib_are_taken_and_not_a_byte_more() -> None:
    most = {"name": "x" * (MOST_BYTES - 4)}
    assert metadata_of(most)
    with pytest.raises(InvalidMetadata):
        metadata_of({**most, "a": ""})
    assert usable_metadata({**most, "a": ""}) == ()


def test_lines_under_one_name_are_joined() -> None:
    headers = [("X-Amz-Meta-A", "1"), ("x-amz-meta-a", "2"), ("x-amz-metab", "3")]
    assert metadata_in(headers) == {"a": "1, 2"}
