"""The little XML that S3 speaks, read and written.

Documents come from the gateway that the operator trusts. Expat, which reads them, takes no external
entities; RGW writes keys percent-encoded when it is asked for ``encoding-type=url``, but puts the
request's own prefix and markers beside them as they are, with characters that XML does not allow.
"""

import re
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree
from xml.sax.saxutils import escape

_NOT_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
_NOT_XML_REFERENCE = re.compile(rb"&#(x0*1?[0-9A-Fa-f]|0*[0-9]{1,2});")


class Element:
    """An element whose children are found by their plain names."""

    def __init__(self, node: ElementTree.Element) -> None:
        self._node = node

    @property
    def name(self) -> str:
        """The tag without its namespace."""
        return self._node.tag.rpartition("}")[2]

    def children(self, *names: str) -> Iterator["Element"]:
        """Children of these names, in document order."""
        return (child for child in map(Element, self._node) if child.name in names)

    def text(self, name: str) -> str:
        """The text of the first child of this name; empty when there is none."""
        return next((child.own_text for child in self.children(name)), "")

    @property
    def own_text(self) -> str:
        """The text between the tags."""
        return self._node.text or ""


def parse(document: bytes) -> Element | None:
    """The root of a document, or None when it is no XML."""
    try:
        clean = _NOT_XML_REFERENCE.sub(_kept, _NOT_XML.sub(b"?", document))
        return Element(ElementTree.fromstring(clean))  # noqa: S314 - see above
    except ElementTree.ParseError:
        return None


def _kept(reference: re.Match[bytes]) -> bytes:
    """A character reference as it was when XML allows the character, else a question mark."""
    digits = reference[1].decode()
    number = int(digits[1:], 16) if digits.startswith("x") else int(digits)
    return reference[0] if number in {9, 10, 13} or number >= 32 else b"?"


def error_code(document: bytes) -> str:
    """The code of an error document; empty when it is none."""
    if b"<Error>" not in document[:200]:
        return ""
    root = parse(document)
    return root.text("Code") if root is not None and root.name == "Error" else ""


NOWHERE = b"<CreateBucketConfiguration><LocationConstraint>no:where</LocationConstraint></CreateBucketConfiguration>"
VERSIONING_ON = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


def completion(etags: Iterable[str]) -> bytes:
    """The body of CompleteMultipartUpload: parts 1, 2, ... with these ETags."""
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
        for number, etag in enumerate(etags, start=1)
    )
    return f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
