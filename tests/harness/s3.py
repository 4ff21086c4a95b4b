"""Another S3 client (botocore), as an operator's tools look at the gateway: what lies there, whatever we think."""

import hashlib
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.config import Config

from tests.harness.ceph import Ceph

_PIECE = 1 << 20


class Bystander:
    """Looks at one bucket of a cluster with the service's own user: the cluster's first, or the one with these keys."""

    def __init__(self, node: Ceph, bucket: str, access_key: str = "", secret_key: str = "") -> None:
        self.bucket = bucket
        self.client: Any = botocore.session.get_session().create_client(
            "s3",
            region_name="default",
            endpoint_url=node.gateway,
            aws_access_key_id=access_key or node.access_key,
            aws_secret_access_key=secret_key or node.secret_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                proxies={},
            ),
        )

    def close(self) -> None:
        """Drop the connections."""
        self.client.close()

    def keys(self) -> list[str]:
        """The keys of the bucket, in order."""
        return [each["Key"] for each in self._pages("list_objects_v2", "Contents")]

    def versions(self, key: str | None = None) -> list[tuple[str, str]]:
        """Key and version id of every version."""
        found = ((each["Key"], each["VersionId"]) for each in self._pages("list_object_versions", "Versions"))
        return [pair for pair in found if key in {None, pair[0]}]

    def uploads(self) -> list[tuple[str, str]]:
        """Key and id of every unfinished upload of parts."""
        return [(each["Key"], each["UploadId"]) for each in self._pages("list_multipart_uploads", "Uploads")]

    def md5(self, key: str) -> str:
        """The md5 of the key's current bytes, as they are read from Ceph."""
        digest = hashlib.md5(usedforsecurity=False)
        body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"]
        with body:
            while piece := body.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def head(self, key: str) -> Any:
        """What HEAD says of the key."""
        return self.client.head_object(Bucket=self.bucket, Key=key)

    def _pages(self, operation: str, name: str) -> Iterator[Any]:
        for page in self.client.get_paginator(operation).paginate(Bucket=self.bucket):
            yield from page.get(name, [])
