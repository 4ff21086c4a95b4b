"""What a write through a mirror makes invalid (RFC 9111 section 4.4). Pure."""

from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from cephstorage.domain.mirrors import Mirror, Target, led_through, source_url
from cephstorage.domain.policy import Policy

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110 section 9.2.1)."""


def invalidated(
    mirror: Mirror, policy: Policy, method: str, target: Target, status: int, headers: Mapping[str, str]
) -> tuple[str, ...]:
    """The mirror's targets, as requests write them, that an answer to ``method`` makes invalid.

    The target itself, and what Location and Content-Location name on the same origin: a write to one host says nothing
    of another. Nothing after an error. ``headers`` has lower-case names.
    """
    if method in SAFE or not 200 <= status < 400:
        return ()
    named = [headers[name] for name in ("location", "content-location") if name in headers]
    below = [place for each in named if (place := _below(mirror, policy, target, each)) is not None]
    return tuple(dict.fromkeys((target.raw, *below)))


def _below(mirror: Mirror, policy: Policy, target: Target, reference: str) -> str | None:
    try:
        url = urljoin(source_url(mirror, policy, target), reference)
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.hostname == mirror.host:
        return parts.path + (f"?{parts.query}" if parts.query else "")
    place = led_through(mirror, policy, url.partition("#")[0])
    return place if place.startswith("/") else None
