"""The little XML that S3 speaks, read and written.

Documents come from the gateway that the operator trusts. Expat, which reads them, takes no external
entities. RGW writes names as they are, or percent-encoded where it is asked for that and knows how; so a
document may hold characters that XML does not allow. They are spelt out before it is parsed and put back
afterwards, so that every name survives.
"""

import re
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree
from xml.sax.saxutils import escape

_MARK = "\uf8ff"
_FORBIDDEN = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff{_MARK}]")
_REFERENCE = re.compile(r"&#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}));")
_SPELT = re.compile(f"{_MARK}([0-9a-f]{{4}})")


def _spelt(character: str) -> str:
    return f"{_MARK}{ord(character):04x}"


def _allowed(text: str) -> str:
    """The document with every forbidden character, and the mark itself, spelt as mark and number."""
    return _REFERENCE.sub(_resolved, _FORBIDDEN.sub(lambda found: _spelt(found[0]), text))


def _resolved(reference: re.Match[str]) -> str:
    number = int(reference[1], 16) if reference[1] else int(reference[2])
    character = chr(number) if number < 0x110000 else "?"
    return _spelt(character) if _FORBIDDEN.fullmatch(character) else reference[0]


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

    def deep_text(self, name: str) -> str:
        """The text of the first element of this name, however deep; empty when there is none."""
        found = (child for child in map(Element, self._node.iter()) if child.name == name)
        return next((child.own_text for child in found), "")

    @property
    def own_text(self) -> str:
        """The text between the tags."""
        return _SPELT.sub(lambda found: chr(int(found[1], 16)), self._node.text or "")


def parse(document: bytes) -> Element | None:
    """The root of a document, or None when it is no XML."""
    try:
        return Element(ElementTree.fromstring(_allowed(document.decode("utf-8", "replace"))))  # noqa: S314 - see above
    except ElementTree.ParseError:
        return None


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
