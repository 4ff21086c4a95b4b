"""Foreign errors of the gateway, translated once: what went wrong, and what the operator can do about it.

Codes: "Error responses" in the S3 API reference, and src/rgw/rgw_common.cc of Ceph for RGW's own.
"""

import ssl
from http import HTTPStatus

import aiohttp

from cephstorage.domain.errors import CephStorageError, QuotaExceeded, StoreFull, StoreMisconfigured, StoreUnavailable

FOREIGN = (aiohttp.ClientError, OSError, TimeoutError)
"""What an exchange with the gateway may raise."""

_DENIED = "AccessDenied"
_MISCONFIGURED = {
    "InvalidAccessKeyId": "does not know the access key; correct the settings ceph_access_key and ceph_secret_key",
    "SignatureDoesNotMatch": "does not accept the secret key; correct the settings ceph_access_key and ceph_secret_key",
    _DENIED: (
        "denies access; see whether the user of the settings ceph_access_key and ceph_secret_key owns the buckets and"
        " is not suspended"
    ),
    "UserSuspended": "has suspended the user of the setting ceph_access_key",
    "RequestTimeTooSkewed": "has another time than this machine; synchronise the clocks (15 minutes are tolerated)",
    "InvalidBucketName": "refuses names like username___bucketname; set rgw_relaxed_s3_bucket_names = true in ceph.conf"
    " for the gateway and restart it",
    "BucketAlreadyExists": "has a bucket of this name that belongs to another user; see the setting ceph_access_key",
    "TooManyBuckets": "allows the user no more buckets; raise them with radosgw-admin user modify --max-buckets",
    "MethodNotAllowed": "does not allow this; see whether the setting ceph_gateway is the address of an RGW with S3",
}
_QUOTA = "QuotaExceeded"
_FULL = {
    _QUOTA: "the quota of the user or bucket at the gateway is used up; raise it (radosgw-admin quota set)",
    "InsufficientCapacity": "the Ceph cluster is full; add OSDs or remove data",
}
_BUSY_WAIT = 2.0
_FULL_WAIT = 60.0


class GatewayQuotaExceeded(StoreFull):
    """The gateway's own quota is used up. Ours had room: what waits for its removal counts there, so that waiting may help."""

    code = QuotaExceeded.code


class Denied(StoreMisconfigured):
    """The gateway lets us not have this. Where it has just listed the bucket, another user owns the object."""


class UnknownBucket(StoreUnavailable):
    """The gateway has no such bucket."""


def of_exception(error: BaseException, gateway: str) -> CephStorageError:
    """What an exchange that did not come to an answer means."""
    if isinstance(error, CephStorageError):
        return error
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
        return StoreMisconfigured(
            f"The certificate of the Ceph gateway {gateway} is not accepted; name its CA in the setting ceph_ca_file,"
            f" or correct ceph_gateway: {_reason(error)}."
        )
    if isinstance(error, TimeoutError):
        return StoreUnavailable(
            f"The Ceph gateway {gateway} does not answer; see whether its OSDs are up (ceph health), and in a followed bucket "
            "whether the endpoint of its events answers.",
            retry_after=5,
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return StoreUnavailable(
            f"The Ceph gateway {gateway} can't be reached; see whether radosgw runs there: {_reason(error)}.",
            retry_after=5,
        )
    return StoreUnavailable(f"The connection to the Ceph gateway {gateway} broke: {_reason(error)}.", retry_after=1)


def _reason(error: BaseException) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return str(getattr(inner, "strerror", None) or inner or type(inner).__name__).rstrip(".")


def of_refusal(status: int, code: str, what: str, gateway: str) -> CephStorageError:
    """What an answer that is no success means; ``what`` was asked for, e.g. ``PUT alice___photos/a.txt``."""
    told = f"{status} {code}".strip()
    if code == _QUOTA:
        return GatewayQuotaExceeded(f"{what}: {_FULL[code]}.", retry_after=_FULL_WAIT)
    if (reason := _FULL.get(code)) is not None or status == HTTPStatus.INSUFFICIENT_STORAGE:
        return StoreFull(f"{what}: {reason or _FULL['InsufficientCapacity']}.", retry_after=_FULL_WAIT)
    if code == "NoSuchBucket":
        return UnknownBucket(f"{what}: the Ceph gateway {gateway} has no such bucket; create it again.")
    reason = _MISCONFIGURED.get(code)
    if code == _DENIED or (reason is None and status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}):
        return Denied(f"{what}: the Ceph gateway {gateway} {_MISCONFIGURED[_DENIED]} ({told}).")
    if reason is not None:
        return StoreMisconfigured(f"{what}: the Ceph gateway {gateway} {reason} ({told}).")
    wait = _BUSY_WAIT if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS} else None
    return StoreUnavailable(f"{what}: the Ceph gateway {gateway} answered {told}.", retry_after=wait)
