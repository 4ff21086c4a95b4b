"""A small synchronous client of the CephStorage HTTP API. It stands alone: it imports nothing of the service."""

from cephstorage_client.client import Client
from cephstorage_client.errors import (
    ApiError,
    ClientError,
    DownloadInterrupted,
    InvalidArgument,
    ServiceUnreachable,
    VerificationFailed,
    WaitTimeout,
)
from cephstorage_client.names import encode_key
from cephstorage_client.shapes import (
    AccessToken,
    Bucket,
    Explanation,
    Job,
    KeyOptions,
    ListOptions,
    Mirror,
    MirrorOptions,
    NewKey,
    Page,
    Progress,
    PurgeOptions,
    Record,
    TransferHandle,
    VerifyOptions,
    WarmOptions,
)

__all__ = [
    "AccessToken",
    "ApiError",
    "Bucket",
    "Client",
    "ClientError",
    "DownloadInterrupted",
    "Explanation",
    "InvalidArgument",
    "Job",
    "KeyOptions",
    "ListOptions",
    "Mirror",
    "MirrorOptions",
    "NewKey",
    "Page",
    "Progress",
    "PurgeOptions",
    "Record",
    "ServiceUnreachable",
    "TransferHandle",
    "VerificationFailed",
    "VerifyOptions",
    "WaitTimeout",
    "WarmOptions",
    "encode_key",
]
