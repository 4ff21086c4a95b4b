"""Variants: what one address has for requests that differ in the headers that Vary names (RFC 9111 section 4.1).

The first answer that is stored for an address stands under its key. One for other values stands beside it, under the
key with a mark of those values: so it is listed, counted and deleted like any other key, and a purge of the key means
its variants, too. An address whose path ends in such a mark is told apart by the target that a record remembers.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cephstorage.domain.credential_names import is_credential
from cephstorage.domain.errors import InvalidKey
from cephstorage.domain.forwarding import CONDITIONS, forwarded
from cephstorage.domain.mirrors import Target
from cephstorage.domain.names import key_name
from cephstorage.domain.policy import DigestSource, Mode, Policy
from cephstorage.domain.records import OriginFacts

MOST = 16
"""Variants of an address that are stored beside the first; further ones are passed through."""
_MARK = ";variant="
_CODINGS = ("br", "gzip", "zstd")
"""Content codings that clients tell apart in practice; others are not asked for."""
_CODING = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?", re.ASCII)
_NOT_FOR_FILLS = CONDITIONS | {"cache-control", "pragma"}
Values = tuple[tuple[str, str | None], ...]
"""Lower-case names of request headers, each with its value in one spelling; None: the request had none."""


def accepted_codings(header: str | None) -> str:
    """Accept-Encoding in one spelling: the codings that a client takes, else identity (RFC 9110 section 12.5.3)."""
    taken: dict[str, bool] = {}
    for item in (header or "").split(","):
        if (found := _CODING.fullmatch(item)) is not None:
            taken[found[1].lower().removeprefix("x-")] = found[2] is None or float_of(found[2]) > 0
    named = [coding for coding in _CODINGS if taken.get(coding, taken.get("*", False))]
    return ", ".join(named) or "identity"


def float_of(weight: str) -> float:
    """A weight (RFC 9110 section 12.4.2); 0 for one that can't be read."""
    return float(weight) if re.fullmatch(r"[01](\.[0-9]{0,3})?", weight) else 0.0


def fill_headers(policy: Policy, headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The client's headers that a fill shows the origin in mode ``origin``; in others a fill asks for nobody.

    Never credentials: what is stored is for all. Where the bytes must be those that a digest is of, they come as they are.
    """
    if policy.mode is not Mode.ORIGIN:
        return ()
    allowed = [name for name in policy.pass_headers if not is_credential(name.lower())]
    plain = policy.digest is not DigestSource.NONE or policy.rewrite_links is not None
    codings = "identity" if plain else accepted_codings(headers.get("accept-encoding"))
    return (*forwarded(headers, allowed, without=_NOT_FOR_FILLS), ("accept-encoding", codings))


def chosen_by(vary: str | None, sent: Iterable[tuple[str, str]]) -> Values:
    """The values of a request by which its answer was chosen, as the answer's Vary says."""
    headers = {name.lower(): value for name, value in sent}
    names = sorted({name.strip().lower() for name in (vary or "").split(",")} - {""})
    return tuple((name, _one_spelling(name, headers.get(name))) for name in names)


def _one_spelling(name: str, value: str | None) -> str | None:
    if value is None:
        return None
    plain = re.sub(r"\s*([,;])\s*", r"\1", " ".join(value.split()))
    return plain.lower() if name.startswith("accept") else plain


def alike(values: Values, sent: Iterable[tuple[str, str]]) -> bool:
    """Whether a request would be answered with what was chosen by these values. ``*`` is like nothing."""
    if not values:
        return True
    names = ",".join(name for name, _ in values)
    return "*" not in {name for name, _ in values} and chosen_by(names, sent) == values


def varies_of(origin: OriginFacts | None) -> Values:
    """The values by which a stored answer was chosen; none for what is no mirror's copy."""
    return origin.varies if origin is not None else ()


def variant_of(target: Target, values: Values, sent: Iterable[tuple[str, str]]) -> Target:
    """Where the variant stands that this request would be answered with, beside one that was chosen by ``values``."""
    names = ",".join(name for name, _ in values)
    told = repr(chosen_by(names, sent)).encode("utf-8", "surrogatepass")
    mark = hashlib.sha256(told).hexdigest()[:16]
    try:
        key = key_name(variant_prefix(target.key) + mark) if target.key is not None else None
    except InvalidKey:
        key = None
    return replace(target, key=key, canonical=f"{target.canonical}#{mark}")


def variant_prefix(key: str) -> str:
    """How the keys of a key's variants begin."""
    return key + _MARK
