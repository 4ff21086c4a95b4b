"""Errors on the wire: RFC 9457 problem details, and the one table from error code to HTTP status."""

import json
import math
from http import HTTPStatus

from cephstorage.domain.errors import CephStorageError

STATUS: dict[str, HTTPStatus] = {
    "internal_error": HTTPStatus.INTERNAL_SERVER_ERROR,
    "invalid_request": HTTPStatus.BAD_REQUEST,
    "invalid_name": HTTPStatus.BAD_REQUEST,
    "invalid_key": HTTPStatus.BAD_REQUEST,
    "invalid_url": HTTPStatus.BAD_REQUEST,
    "invalid_digest": HTTPStatus.BAD_REQUEST,
    "invalid_timetag": HTTPStatus.BAD_REQUEST,
    "invalid_metadata": HTTPStatus.BAD_REQUEST,
    "invalid_expiry": HTTPStatus.BAD_REQUEST,
    "invalid_cursor": HTTPStatus.BAD_REQUEST,
    "invalid_mirror": HTTPStatus.BAD_REQUEST,
    "invalid_document": HTTPStatus.BAD_REQUEST,
    "invalid_webhook": HTTPStatus.BAD_REQUEST,
    "invalid_index": HTTPStatus.BAD_REQUEST,
    "invalid_setting": HTTPStatus.BAD_REQUEST,
    "content_coding_unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "signature_invalid": HTTPStatus.FORBIDDEN,
    "path_denied": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "bucket_not_found": HTTPStatus.NOT_FOUND,
    "key_not_found": HTTPStatus.NOT_FOUND,
    "folder_not_found": HTTPStatus.NOT_FOUND,
    "tenant_not_found": HTTPStatus.NOT_FOUND,
    "token_not_found": HTTPStatus.NOT_FOUND,
    "job_not_found": HTTPStatus.NOT_FOUND,
    "mirror_not_found": HTTPStatus.NOT_FOUND,
    "webhook_not_found": HTTPStatus.NOT_FOUND,
    "access_token_not_found": HTTPStatus.NOT_FOUND,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "not_supported": HTTPStatus.CONFLICT,
    "conflict": HTTPStatus.CONFLICT,
    "bucket_not_empty": HTTPStatus.CONFLICT,
    "transfer_ended": HTTPStatus.CONFLICT,
    "job_ended": HTTPStatus.CONFLICT,
    "not_followed": HTTPStatus.CONFLICT,
    "idempotency_key_reused": HTTPStatus.CONFLICT,
    "precondition_failed": HTTPStatus.PRECONDITION_FAILED,
    "setting_fixed": HTTPStatus.CONFLICT,
    "setting_untenable": HTTPStatus.CONFLICT,
    "secret_key_wrong": HTTPStatus.SERVICE_UNAVAILABLE,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "database_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "store_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "store_misconfigured": HTTPStatus.SERVICE_UNAVAILABLE,
    "edge_unreachable": HTTPStatus.SERVICE_UNAVAILABLE,
    "spool_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "storage_full": HTTPStatus.INSUFFICIENT_STORAGE,
    "quota_exceeded": HTTPStatus.INSUFFICIENT_STORAGE,
    "stored_bytes_missing": HTTPStatus.INTERNAL_SERVER_ERROR,
    "transfer_failed": HTTPStatus.BAD_GATEWAY,
    "origin_unreachable": HTTPStatus.BAD_GATEWAY,
    "origin_timeout": HTTPStatus.GATEWAY_TIMEOUT,
    "origin_broken": HTTPStatus.BAD_GATEWAY,
    "origin_busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "origin_resting": HTTPStatus.SERVICE_UNAVAILABLE,
    "origin_fault": HTTPStatus.BAD_GATEWAY,
    "stale_forbidden": HTTPStatus.GATEWAY_TIMEOUT,
    "origin_changed": HTTPStatus.BAD_GATEWAY,
    "origin_refused": HTTPStatus.BAD_GATEWAY,
    "origin_protocol": HTTPStatus.BAD_GATEWAY,
    "origin_cooling": HTTPStatus.BAD_GATEWAY,
    "too_many_redirects": HTTPStatus.BAD_GATEWAY,
    "redirect_refused": HTTPStatus.BAD_GATEWAY,
    "loop_detected": HTTPStatus.LOOP_DETECTED,
    "not_stored": HTTPStatus.GATEWAY_TIMEOUT,
    "forbidden_address": HTTPStatus.FORBIDDEN,
    "md5_mismatch": HTTPStatus.BAD_REQUEST,
    "digest_mismatch": HTTPStatus.BAD_REQUEST,
    "length_mismatch": HTTPStatus.BAD_REQUEST,
    "length_unverifiable": HTTPStatus.BAD_GATEWAY,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "cancelled": HTTPStatus.CONFLICT,
    "upload_interrupted": HTTPStatus.BAD_REQUEST,
    "lease_lost": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Every code of ``cephstorage.domain.errors`` and of the mirror's decision stands here; a test holds it to that."""

CONTENT_TYPE = "application/problem+json"
Headers = list[tuple[str, str]]


def problem(
    code: str, msg: str, retry_after: float | None = None, *, gateway: bool = False
) -> tuple[HTTPStatus, Headers, bytes]:
    """Status, headers and body of an error answer. ``retry_after`` is in seconds.

    ``gateway``: the request was fine and the origin is not, so that a 4xx would blame the wrong side.
    """
    status = STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
    if gateway and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        status = HTTPStatus.BAD_GATEWAY
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": msg,
        "code": code,
        "msg": msg,
    }
    headers = [("content-type", CONTENT_TYPE), ("cache-control", "no-store")]
    if retry_after is not None or status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("retry-after", str(max(1, math.ceil(retry_after or 1)))))
    if status is HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", 'Bearer realm="cephstorage"'))
    if status is HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        headers.append(("accept-encoding", "identity"))  # RFC 9110 section 15.5.16
    return status, headers, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def problem_of(error: CephStorageError) -> tuple[HTTPStatus, Headers, bytes]:
    """The error answer of an error of the tree."""
    return problem(error.code, error.msg, error.retry_after)
