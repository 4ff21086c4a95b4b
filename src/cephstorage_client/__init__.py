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
    WebhookRefused,
)
from cephstorage_client.names import encode_key
from cephstorage_client.shapes.access import AccessToken
from cephstorage_client.shapes.background import Deletion, Job, Progress, TransferHandle
from cephstorage_client.shapes.buckets import Bucket, ExpiryRule, Following, FollowingCheck, Lifecycle, Limits, Quota
from cephstorage_client.shapes.consistency import CheckedKey, ConsistencyOverview, Finding, Walk
from cephstorage_client.shapes.keys import (
    CopyOptions,
    Folder,
    FolderUsage,
    ImportReport,
    KeyOptions,
    ListOptions,
    NewKey,
    Page,
    Record,
    TrashedRecord,
)
from cephstorage_client.shapes.mirrors import (
    Explanation,
    Mirror,
    MirrorOptions,
    MirrorUsage,
    PurgeOptions,
    VerifyOptions,
    WarmOptions,
)
from cephstorage_client.webhooks import DeadLetter, Webhook, WebhookStatus, WebhookTrial, verify_webhook

__all__ = [
    "AccessToken",
    "ApiError",
    "Bucket",
    "CheckedKey",
    "Client",
    "ClientError",
    "ConsistencyOverview",
    "CopyOptions",
    "DeadLetter",
    "Deletion",
    "DownloadInterrupted",
    "ExpiryRule",
    "Explanation",
    "Finding",
    "Folder",
    "FolderUsage",
    "Following",
    "FollowingCheck",
    "ImportReport",
    "InvalidArgument",
    "Job",
    "KeyOptions",
    "Lifecycle",
    "Limits",
    "ListOptions",
    "Mirror",
    "MirrorOptions",
    "MirrorUsage",
    "NewKey",
    "Page",
    "Progress",
    "PurgeOptions",
    "Quota",
    "Record",
    "ServiceUnreachable",
    "TransferHandle",
    "TrashedRecord",
    "VerificationFailed",
    "VerifyOptions",
    "WaitTimeout",
    "Walk",
    "WarmOptions",
    "Webhook",
    "WebhookRefused",
    "WebhookStatus",
    "WebhookTrial",
    "encode_key",
    "verify_webhook",
]
