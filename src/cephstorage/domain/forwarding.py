"""Which of a client's headers travel to the origin: all that are end to end, but for what could harm somebody.

Cookies and credentials stay here unless a rule names them, and so does what tells the client's address.
"""

from collections.abc import Collection, Iterable, Mapping

from cephstorage.domain.credential_names import is_credential
from cephstorage.domain.edge import INTERNAL_PREFIX
from cephstorage.domain.storability import connection_headers

CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"})
_OURS = frozenset({"accept-encoding", "cdn-loop", "cephstorage-forwarded", "content-length", "expect", "host", "via"})
_OF_THE_CLIENT = frozenset(
    {"forwarded", "true-client-ip", "x-client-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port"}
    | {"x-forwarded-prefix", "x-forwarded-proto", "x-real-ip"}
)


def forwarded(
    headers: Mapping[str, str], allowed: Iterable[str], without: Collection[str] = ()
) -> tuple[tuple[str, str], ...]:
    """A client's headers as the origin gets them (lower-case names).

    ``allowed`` are those that a rule lets through; ``without`` names more that stay here.
    """
    let_through = {name.lower() for name in allowed} - connection_headers(headers.items())
    dropped = connection_headers(headers.items()) | _OURS | _OF_THE_CLIENT | set(without)
    return tuple(
        (name, value)
        for name, value in headers.items()
        if name in let_through or not (name in dropped or is_credential(name) or name.startswith(INTERNAL_PREFIX))
    )
