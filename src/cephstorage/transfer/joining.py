"""Whether the bytes of another answer may be joined with those that a spool has: only ever of one version.

Two answers are of one version when they show the same strong validator (RFC 9110 section 8.8.1). Where another
origin of the mirror answers, or there is no such validator, a digest of the whole may vouch for the join: the
spool is held against it before its last bytes are given out, and before anything is stored.
"""

from cephstorage.ports.origin import OriginResponse, Version
from cephstorage.transfer.intake import total_length
from cephstorage.transfer.live import LiveTransfer


def joined_version(live: LiveTransfer) -> Version | None:
    """The version that further answers must be of; None when nothing may be joined with what is there."""
    if live.source is None:
        return None
    verified = bool(live.promised) and live.length is not None
    if live.source.resume_validator is None and not verified:
        return None
    return Version(live.source.resume_validator, live.length, live.source.server, verified)


def same_version(live: LiveTransfer, response: OriginResponse) -> bool:
    """Whether the answer is of the version being spooled.

    A 206 to If-Range may leave the validator out (RFC 9110 section 15.3.7); a 200 has to show it.
    """
    version = joined_version(live)
    assert version is not None
    if version.verified and (version.validator is None or response.server != version.server):
        return total_length(response) == version.length
    if _shown_validator(live, response) is None:
        return response.status == 206
    return shows_same_version(live, response)


def shows_same_version(live: LiveTransfer, response: OriginResponse) -> bool:
    """Whether the answer shows the very validator of the version being spooled."""
    assert live.source is not None
    validator = live.source.resume_validator
    return validator is not None and _shown_validator(live, response) == validator


def _shown_validator(live: LiveTransfer, response: OriginResponse) -> str | None:
    assert live.source is not None
    validator = live.source.resume_validator
    return response.headers.get("etag" if validator is None or validator.startswith('"') else "last-modified")
