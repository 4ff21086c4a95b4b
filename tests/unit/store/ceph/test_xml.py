"""The XML of S3: every name survives, whatever characters it has and however the gateway wrote them."""

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.store.ceph.xml import completion, error_code, parse

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))


def _referenced(text: str) -> str:
    return "".join(f"&#x{ord(each):X};" if ord(each) < 32 or ord(each) == 127 else escape(each) for each in text)


@given(ANY_TEXT)
def test_a_name_survives_as_it_is_and_as_references(name: str) -> None:
    for written in (escape(name), _referenced(name)):
        root = parse(f'<?xml version="1.0" encoding="UTF-8"?><R{NAMESPACE}><Key>{written}</Key></R>'.encode())
        assert root is not None
        assert root.text("Key") == name


def test_children_are_found_by_plain_names_in_order() -> None:
    root = parse(f"<R{NAMESPACE}><A>1</A><B>2</B><A>3</A></R>".encode())
    assert root is not None
    assert root.name == "R"
    assert [(child.name, child.own_text) for child in root.children("A", "B")] == [("A", "1"), ("B", "2"), ("A", "3")]
    assert root.text("C") == ""


@pytest.mark.parametrize("document", [b"", b"<a", b"not xml", b"<html><p></html>", b"\xff\xfe"])
def test_what_is_no_xml_is_none(document: bytes) -> None:
    assert parse(document) is None
    assert error_code(document) == ""


def test_error_codes() -> None:
    assert error_code(b'<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>') == "SlowDown"
    assert error_code(b"<Other><Error><Code>SlowDown</Code></Error></Other>") == ""


def test_the_parts_of_a_completion_are_numbered_in_order() -> None:
    root = parse(completion(["aa", 'b"<']))
    assert root is not None
    assert [(part.text("PartNumber"), part.text("ETag")) for part in root.children("Part")] == [
        ("1", "aa"),
        ("2", 'b"<'),
    ]
