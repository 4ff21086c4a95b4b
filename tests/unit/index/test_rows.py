"""Records made of rows are records like any other."""

from dataclasses import FrozenInstanceError, replace

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import OriginFacts, Record
from cephstorage.index.rows import RECORD_COLUMNS, record_of, record_values

MADE = Record(
    BucketName("alice", "photos"), "a/b", 1.5, "0" * 32, "text/plain", 3, 7, '"e"', None, "a.1", "http://o.example", 2.0,
    OriginFacts("/b", (("X-A", "1"),)), 3.0, (("colour", "red"), ("size", "xl")), 4.0, 5.0,
)  # fmt: skip


@pytest.mark.parametrize("record", [MADE, replace(MADE, origin=None, metadata=(), expires=None, invalidated_at=None)])
def test_a_record_comes_back_from_its_row(record: Record) -> None:
    values = record_values(record)
    read = record_of(record.bucket, [values[name] for name in RECORD_COLUMNS])
    assert (read, hash(read), repr(read), type(read)) == (record, hash(record), repr(record), Record)
    assert read.current
    assert replace(read, key="c").key == "c"


def test_a_record_from_a_row_cannot_be_changed() -> None:
    values = record_values(MADE)
    read = record_of(MADE.bucket, [values[name] for name in RECORD_COLUMNS])
    with pytest.raises(FrozenInstanceError):
        read.key = "c"  # type: ignore[misc]
