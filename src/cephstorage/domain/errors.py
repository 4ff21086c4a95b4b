"""The one error tree: what can go wrong, under a stable code that programs may rely on.

The type of an error decides what happens next. ``retryable`` says whether the transfer engine tries
again; the HTTP faces map ``code`` to a status in one table (``cephstorage.wire.problems``). Adapters
translate foreign exceptions into these exactly once and keep the cause. It is long because it is all of
them: whoever looks for a code, or for a parent of a new one, looks here.
"""

from typing import ClassVar


class CephStorageError(Exception):
    """Root of every error that CephStorage raises on purpose.

    ``msg`` is one sentence for a person: what happened, to which key, what to do. It never holds a
    secret. ``retry_after`` is a hint in seconds for the caller.
    """

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, msg: str, *, retry_after: float | None = None) -> None:
        super().__init__(msg)
        self.msg = msg
        self.retry_after = retry_after


class InvalidInput(CephStorageError):
    """The caller sent something that can never work as it stands."""

    code = "invalid_request"


class InvalidName(InvalidInput):
    """A tenant, bucket or mirror host name breaks the naming rules."""

    code = "invalid_name"


class InvalidKey(InvalidInput):
    """A key is empty, too long, not UTF-8, or holds NUL."""

    code = "invalid_key"


class InvalidUrl(InvalidInput):
    """A ``key_url`` or origin is not an absolute http or https URL."""

    code = "invalid_url"


class InvalidDigest(InvalidInput):
    """An md5 or digest field does not parse."""

    code = "invalid_digest"


class ContentCodingUnsupported(InvalidInput):
    """A body comes coded, and its coding would not be kept with it (RFC 9110 section 15.5.16)."""

    code = "content_coding_unsupported"


class InvalidTimetag(InvalidInput):
    """A ``timetag`` is neither epoch seconds nor an ISO 8601 time."""

    code = "invalid_timetag"


class InvalidMetadata(InvalidInput):
    """Custom metadata is too long, or has names or values that no header can carry."""

    code = "invalid_metadata"


class InvalidExpiry(InvalidInput):
    """An expiry, or a rule of expiry, does not make sense."""

    code = "invalid_expiry"


class InvalidCursor(InvalidInput):
    """A listing cursor was not made by this service."""

    code = "invalid_cursor"


class InvalidMirror(InvalidInput):
    """A mirror or one of its rules does not make sense."""

    code = "invalid_mirror"


class InvalidDocument(InvalidInput):
    """A line of an export can't be read, or its fields are none that are known."""

    code = "invalid_document"


class InvalidWebhook(InvalidInput):
    """A webhook's address, events or prefix do not make sense."""

    code = "invalid_webhook"


class InvalidIndex(InvalidInput):
    """A sitemap, a Packages index or a folder's page can't be read as such."""

    code = "invalid_index"


class InvalidSetting(InvalidInput):
    """A setting has a name that is unknown, or a value that can't be used."""

    code = "invalid_setting"


class BodyTooLarge(InvalidInput):
    """A request body is larger than its endpoint accepts."""

    code = "body_too_large"


class AccessDenied(CephStorageError):
    """The caller may not do this."""

    code = "forbidden"


class Unauthenticated(AccessDenied):
    """No token, or one that is unknown, revoked or expired."""

    code = "unauthenticated"


class PathDenied(AccessDenied):
    """A rule of the mirror denies the path, or the answer that its origin gives."""

    code = "path_denied"


class SignatureInvalid(AccessDenied):
    """A published URL was not signed by this service for this key and method, or has expired."""

    code = "signature_invalid"


class NotFound(CephStorageError):
    """The thing that the request names does not exist."""

    code = "not_found"


class BucketNotFound(NotFound):
    """No such bucket."""

    code = "bucket_not_found"


class KeyNotFound(NotFound):
    """No such key in the bucket."""

    code = "key_not_found"


class FolderNotFound(NotFound):
    """No key of the bucket lies in or below the folder."""

    code = "folder_not_found"


class TenantNotFound(NotFound):
    """No such tenant: it comes with its first bucket."""

    code = "tenant_not_found"


class TransferNotFound(NotFound):
    """No transfer has this token, or its record has been cleaned up."""

    code = "token_not_found"


class JobNotFound(NotFound):
    """No job has this id, or its record has been cleaned up."""

    code = "job_not_found"


class MirrorNotFound(NotFound):
    """No mirror answers for this host name."""

    code = "mirror_not_found"


class WebhookNotFound(NotFound):
    """No webhook has this id."""

    code = "webhook_not_found"


class AccessTokenNotFound(NotFound):
    """No access token has this id."""

    code = "access_token_not_found"


class Conflict(CephStorageError):
    """The request is fine but the present state forbids it."""

    code = "conflict"


class NotSupported(Conflict):
    """The store can't do what is asked."""

    code = "not_supported"


class NotFollowed(Conflict):
    """The store was not asked to tell of the bucket's changes: no event will come."""

    code = "not_followed"


class BucketNotEmpty(Conflict):
    """A bucket with keys, or with transfers under way, can't be deleted."""

    code = "bucket_not_empty"


class TransferEnded(Conflict):
    """The transfer has ended; there is nothing to cancel."""

    code = "transfer_ended"


class JobEnded(Conflict):
    """The job has ended; there is nothing to cancel."""

    code = "job_ended"


class IdempotencyMismatch(Conflict):
    """The Idempotency-Key was used before for a different request."""

    code = "idempotency_key_reused"


class PreconditionFailed(Conflict):
    """``if_absent`` or ``if_match`` does not hold for the key as it is now."""

    code = "precondition_failed"


class SettingFixed(Conflict):
    """The setting is given by the environment, which wins over the database."""

    code = "setting_fixed"


class SettingUntenable(Conflict):
    """The service tried to work with the new value and could not; nothing was changed."""

    code = "setting_untenable"


class SecretKeyWrong(CephStorageError):
    """What is sealed in the database does not open with the secret key of this process."""

    code = "secret_key_wrong"


class Unavailable(CephStorageError):
    """A part that CephStorage needs does not answer; the same request may work later."""

    code = "unavailable"
    retryable = True


class DatabaseUnavailable(Unavailable):
    """The metadata database is locked or gone."""

    code = "database_unavailable"


class StoreUnavailable(Unavailable):
    """The object store does not answer."""

    code = "store_unavailable"


class StoreMisconfigured(StoreUnavailable):
    """The object store refuses us until somebody changes a setting, here or there: keys, names, clock, certificate."""

    code = "store_misconfigured"


class StoreFull(Unavailable):
    """The object store or the spool has no room for the object now."""

    code = "storage_full"


class QuotaExceeded(CephStorageError):
    """The object does not fit in the quota of its bucket or tenant; waiting does not help, deleting does."""

    code = "quota_exceeded"


class EdgeUnreachable(Unavailable):
    """An edge could not be told to forget something."""

    code = "edge_unreachable"


class SpoolUnavailable(Unavailable):
    """The folder of part files can't be written."""

    code = "spool_unavailable"


class StoredBytesMissing(CephStorageError):
    """The index names a version that the store does not hold: drift, to be repaired."""

    code = "stored_bytes_missing"


class TransferError(CephStorageError):
    """A movement of bytes failed. Subclasses tell whether another attempt makes sense."""

    code = "transfer_failed"


class OriginUnreachable(TransferError):
    """DNS, connect or TLS failed."""

    code = "origin_unreachable"
    retryable = True


class OriginTimeout(TransferError):
    """The origin stayed silent for too long."""

    code = "origin_timeout"
    retryable = True


class OriginBroken(TransferError):
    """The connection ended before the body did."""

    code = "origin_broken"
    retryable = True


class OriginBusy(TransferError):
    """The origin answered 429 or 503 and asks for patience."""

    code = "origin_busy"
    retryable = True


class OriginResting(TransferError):
    """The origin has failed several times in a row and is left alone for a moment (circuit breaker)."""

    code = "origin_resting"
    retryable = True


class OriginFault(TransferError):
    """The origin answered another 5xx."""

    code = "origin_fault"
    retryable = True


class StaleForbidden(TransferError):
    """The origin forbids that its stored answer is used without its word (RFC 9111 section 5.2.2.2), and gives none."""

    code = "stale_forbidden"


class OriginChanged(TransferError):
    """The object changed at the origin while it was being read; begin again."""

    code = "origin_changed"
    retryable = True


class OriginRefused(TransferError):
    """The origin answered 4xx: asking again will not help."""

    code = "origin_refused"


class OriginProtocol(TransferError):
    """The origin's answer breaks HTTP (wrong Content-Range, 206 without being asked, ...)."""

    code = "origin_protocol"


class TooManyRedirects(TransferError):
    """More redirects than allowed, or a loop."""

    code = "too_many_redirects"


class RedirectRefused(TransferError):
    """The origin redirects, and a rule of the mirror refuses that."""

    code = "redirect_refused"


class ForbiddenAddress(TransferError):
    """The address or port behind the URL is not one that the operator allows (SSRF guard)."""

    code = "forbidden_address"


class Md5Mismatch(TransferError):
    """The bytes do not have the md5 that was promised."""

    code = "md5_mismatch"


class DigestMismatch(TransferError):
    """The bytes do not match the digest that the origin itself declared."""

    code = "digest_mismatch"


class LengthMismatch(TransferError):
    """More or fewer bytes arrived than were announced."""

    code = "length_mismatch"


class LengthUnverifiable(TransferError):
    """No length and no clean end: the body can't be told from a truncated one (RFC 9112 section 8)."""

    code = "length_unverifiable"


class TooLarge(TransferError):
    """The object is larger than the limit."""

    code = "too_large"


class TransferCancelled(TransferError):
    """Somebody with the right to do so cancelled the transfer."""

    code = "cancelled"


class UploadInterrupted(TransferError):
    """The uploading client or the process went away before the body was whole."""

    code = "upload_interrupted"


class LeaseLost(TransferError):
    """Another process took the transfer over; this one must stop without touching anything."""

    code = "lease_lost"
