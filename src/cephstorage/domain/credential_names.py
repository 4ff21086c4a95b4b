"""Which headers of a request may tell who somebody is."""

import re

_CREDENTIAL = re.compile(
    r"(?:.*[-_])?(?:authorization|auth|cookie2?|credentials?|password|secret|session|signature|token|api[-_]?key)(?:[-_].*)?"
)


def is_credential(name: str) -> bool:
    """Whether a header, by its lower-case name, may tell who somebody is: the known ones, and names like theirs."""
    return _CREDENTIAL.fullmatch(name) is not None
