"""Bucket notifications of RGW: a topic for each bucket, whose events go to one address.

Topics are made over the SNS API, which RGW has beside S3; bodies of its requests are signed. Source: docs.ceph.com,
"Bucket Notifications", release Pacific; where 16.2 differs it is said.
"""

import hashlib
from html import escape
from http import HTTPStatus
from urllib.parse import urlencode

from cephstorage.domain.errors import StoreMisconfigured, StoreUnavailable
from cephstorage.domain.events import Following
from cephstorage.domain.names import BucketName
from cephstorage.domain.sigv4 import path_of
from cephstorage.store.ceph.gateway import Answer, Gateway
from cephstorage.store.ceph.parts import content_md5
from cephstorage.store.ceph.s3 import S3
from cephstorage.store.ceph.xml import Element, parse

_NAME = "cephstorage"
"""The id of our notification in a bucket; those of others stay."""
_CREATED, _REMOVED = "s3:ObjectCreated:*", "s3:ObjectRemoved:*"
_SHOWN_SECRET = "***"
_TIMEOUT = 10.0
_BODY = b"cephstorage"
_BODY_MD5 = hashlib.md5(_BODY, usedforsecurity=False).hexdigest()


class CephNotifications:
    """Implements ``cephstorage.ports.notifications.Notifications``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._s3 = S3(gateway)

    async def follow(
        self, bucket: BucketName, endpoint: str, *, removals: bool | None, persistent: bool | None
    ) -> Following:
        """Make the topic anew, or change it, and name it in the bucket.

        16.2 keeps events for an address badly (a topic may stand still when the address is away), and since 16.2.13 it
        aborts when it has to tell of what DeleteObjects removes: it waits for the address on the yield context of the
        request, within a coroutine of its own (ceph/ceph pull requests 49327 and 48679). It does not say its release;
        those who say it (since 19) do both well.
        """
        if removals is None or persistent is None:
            does_well = bool(await self._s3.release(_TIMEOUT))
            removals = does_well if removals is None else removals
            persistent = does_well if persistent is None else persistent
        attributes = {"push-endpoint": endpoint, "persistent": str(persistent).lower(), "verify-ssl": "true"}
        arn = (await self._sns("CreateTopic", {"Name": _topic(bucket)}, attributes)).deep_text("TopicArn")
        if not arn:
            raise StoreUnavailable("The Ceph gateway made a topic and did not say its name.")
        events = [_CREATED, *([_REMOVED] if removals else [])]
        await self._remove_from(bucket)  # RGW 16.2 adds to what is there
        await self._gateway.ask("PUT", path_of(str(bucket)), [("notification", "")], body=_notification(arn, events))
        return Following(_shown(endpoint), removals, persistent)

    async def unfollow(self, bucket: BucketName) -> None:
        """The bucket first: what names a topic that is gone would still try to tell it."""
        arn = await self._arn(bucket)
        await self._remove_from(bucket)
        if arn is not None:
            await self._sns("DeleteTopic", {"TopicArn": arn}, {})

    async def following(self, bucket: BucketName) -> Following | None:
        """What the bucket and its topic say."""
        answer = await self._gateway.ask("GET", path_of(str(bucket)), [("notification", "")])
        ours = [node for node in _root(answer).children("TopicConfiguration") if node.text("Id") == _NAME]
        topic = await self._topic_of(ours[0].text("Topic")) if ours else None
        if topic is None:
            return None
        end = next(topic.children("EndPoint"), topic)
        events = [node.own_text for node in ours[0].children("Event")]
        removals = any("ObjectRemoved" in event for event in events)
        persistent = end.text("Persistent").lower() == "true"
        return Following(_shown(end.text("EndpointAddress")), removals, persistent)

    async def leave(self, bucket: BucketName, key: str) -> None:
        """Put it without any metadata of ours."""
        headers = {"content-md5": content_md5(_BODY_MD5)}
        await self._gateway.ask("PUT", path_of(str(bucket), key), (), headers, _BODY)

    async def take_away(self, bucket: BucketName, key: str) -> None:
        """Remove what there is of it, whether or not it was heard of."""
        versions = [each.version_id async for each in self._s3.versions(str(bucket), key) if each.key == key]
        for version_id in versions:
            await self._s3.delete_version(str(bucket), key, version_id)

    async def _remove_from(self, bucket: BucketName) -> None:
        await self._gateway.ask("DELETE", path_of(str(bucket)), [("notification", _NAME)], fine={404})

    async def _arn(self, bucket: BucketName) -> str | None:
        name = _topic(bucket)
        return next((arn for node in await self._topics() if (arn := node.text("TopicArn")).endswith(f":{name}")), None)

    async def _topic_of(self, arn: str) -> Element | None:
        return next((node for node in await self._topics() if node.text("TopicArn") == arn), None)

    async def _topics(self) -> list[Element]:
        """The user's topics; RGW lists them all at once."""
        found = await self._sns("ListTopics", {}, {})
        groups = [group for result in found.children("ListTopicsResult") for group in result.children("Topics")]
        return [node for group in groups for node in group.children("member")]

    async def _sns(self, action: str, fields: dict[str, str], attributes: dict[str, str]) -> Element:
        form = {"Action": action, "Version": "2010-03-31", **fields}
        for number, (name, value) in enumerate(attributes.items(), 1):
            form |= {f"Attributes.entry.{number}.key": name, f"Attributes.entry.{number}.value": value}
        headers = {"content-type": "application/x-www-form-urlencoded"}
        body = urlencode(form).encode()
        answer = await self._gateway.ask("POST", "/", (), headers, body, fine={405}, signs_body=True)
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            raise StoreMisconfigured(
                f"The Ceph gateway {self._gateway.config.gateway} has no notifications: have rgw_enable_apis in ceph.conf "
                "name them (notifications), as it does by default."
            )
        return _root(answer)


def _topic(bucket: BucketName) -> str:
    return f"{_NAME}.{bucket}"


def _shown(endpoint: str) -> str:
    """An address without the secret at its end."""
    head, slash, _ = endpoint.rpartition("/")
    return f"{head}{slash}{_SHOWN_SECRET}"


def _notification(arn: str, events: list[str]) -> bytes:
    named = "".join(f"<Event>{event}</Event>" for event in events)
    topic = f"<Id>{_NAME}</Id><Topic>{escape(arn)}</Topic>{named}"
    return f"<NotificationConfiguration><TopicConfiguration>{topic}</TopicConfiguration></NotificationConfiguration>".encode()


def _root(answer: Answer) -> Element:
    root = parse(answer.body)
    if root is None:
        raise StoreUnavailable("The Ceph gateway's answer about notifications is no XML.")
    return root
