"""The shortest proof that the parts fit: upload, read back, stop."""

import hashlib

import pytest

from tests.harness.service import Service

pytestmark = pytest.mark.usefixtures("started_anew")


def test_upload_and_read_back(service: Service) -> None:
    service.json("PUT", "/ceph/alice/photos")
    body = b"a cat" * 1000
    record = service.call("PUT", "/ceph/alice/photos/keys/pets/cat.jpg", body).json()
    assert record["md5"] == hashlib.md5(body, usedforsecurity=False).hexdigest()
    path = record["url"].removeprefix(service.url)
    assert service.call("GET", path, token=None).body == body
    assert service.stop() == 0
