"""The client: every call of the API under one name."""

from cephstorage_client.administration import AdministrationCalls
from cephstorage_client.bulk import BulkCalls
from cephstorage_client.consistency import ConsistencyCalls
from cephstorage_client.copies import CopyCalls
from cephstorage_client.following import FollowingCalls
from cephstorage_client.keys import KeyCalls
from cephstorage_client.transfers import TransferCalls
from cephstorage_client.webhooks import WebhookCalls


class Client(
    KeyCalls,
    BulkCalls,
    TransferCalls,
    CopyCalls,
    ConsistencyCalls,
    FollowingCalls,
    WebhookCalls,
    AdministrationCalls,
):
    """A client of the service at ``base_url``, with the rights of ``token``. One per thread."""
