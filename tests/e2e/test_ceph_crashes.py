"""kill -9 of the service at every step of storing in Ceph: each key ends once, whole, and Ceph holds nothing else."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.harness.aftermath import spool_files
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.s3 import Bystander
from tests.harness.service import Service

BIG = Content(1, 40 * MIB + 5)
MEDIUM = Content(2, 3 * MIB)
S3 = "cephstorage.store.ceph.s3:S3"
LANDING = "cephstorage.index.landing:SqlLandingIndex"
WHOLE = [f"{S3}.put/before", f"{S3}.put/after", f"{LANDING}.publish/before", f"{LANDING}.publish/after"]
PARTS = [
    f"{LANDING}.plan/after",
    f"{S3}.begin_upload/before",
    f"{S3}.begin_upload/after",
    f"{LANDING}.note_version/after",
    f"{S3}.put_part/after",
    f"{S3}.complete/before",
    f"{S3}.complete/after",
    f"{LANDING}.publish/before",
    f"{LANDING}.publish/after",
]
POINTS = [(MEDIUM, point) for point in WHOLE] + [(BIG, point) for point in PARTS]
UPLOAD_POINTS = [(MEDIUM, WHOLE[1]), (BIG, PARTS[2]), (BIG, PARTS[4]), (BIG, PARTS[6]), (BIG, PARTS[8])]


class Mortal(Service):
    """Dies at a point when it is told to."""

    module = "tests.harness.crashing"


Mortals = Callable[[str], tuple[Service, Path, Bystander]]


@pytest.fixture
def mortal(ceph: Ceph, tmp_path: Path, origin: FaultOrigin) -> Iterator[Mortals]:
    """Start a service that dies at a point as soon as the file of that name exists."""
    made: list[Service] = []
    seen = Bystander(ceph, "alice___photos")

    def start(point: str) -> tuple[Service, Path, Bystander]:
        armed = tmp_path / "armed"
        service = Mortal(
            tmp_path / "data",
            store="ceph",
            ceph_gateway=ceph.gateway,
            ceph_access_key=ceph.access_key,
            ceph_secret_key=ceph.secret_key,
            ceph_removal_grace="0.2",
            ceph_abandon_after="3",
            transfer_lease="3",
            origin_allowed_ports=str(origin.port),
            crash_at=point,
            crash_armed=str(armed),
        ).start()
        made.append(service)
        for key, version in seen.versions() if "alice___photos" in ceph.admin("bucket", "list") else []:
            seen.client.delete_object(Bucket="alice___photos", Key=key, VersionId=version)
        return service, armed, seen

    yield start
    for service in made:
        service.stop()
    seen.close()


def settled(service: Service, seen: Bystander, *keys: str) -> None:
    """Ceph holds one version of each of these keys and no unfinished upload; the spool is empty."""
    until(lambda: sorted(key for key, _ in seen.versions()), lambda found: found == sorted(keys))
    until(seen.uploads, lambda found: found == [])
    until(lambda: spool_files(service.data_dir), lambda found: found == [])


@pytest.mark.parametrize(("body", "point"), POINTS)
def test_a_creation_survives_a_kill_anywhere(mortal: Mortals, origin: FaultOrigin, body: Content, point: str) -> None:
    service, armed, seen = mortal(point)
    bucket = Bucket(service, "alice")
    bucket.put("k", b"older")
    origin.put("/a", body)
    armed.touch()
    token = bucket.create("k", f"{origin.url}/a")
    service.wait()
    armed.unlink()
    service.start()
    bucket.success(token)
    settled(service, seen, "k")
    assert seen.md5("k") == body.md5
    assert bucket.read("k") == body.read()
    assert bucket.usage() == (body.size, 1)
    assert bucket.record("k")["generation"] == 2


@pytest.mark.parametrize(("body", "point"), UPLOAD_POINTS)
def test_an_upload_is_there_whole_or_not_at_all_after_a_kill_anywhere(
    mortal: Mortals, body: Content, point: str
) -> None:
    service, armed, seen = mortal(point)
    bucket = Bucket(service, "alice")
    bucket.put("k", b"older")
    armed.touch()
    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(bucket.upload, "k", body.read())
        assert isinstance(uploading.exception(), OSError | HTTPException)
    service.wait()
    armed.unlink()
    service.start()
    settled(service, seen, "k")
    until(lambda: seen.md5("k") == body.md5 or bucket.record("k")["generation"] == 1)
    assert bucket.read("k") == (body.read() if bucket.record("k")["generation"] == 2 else b"older")
    assert bucket.usage() == (len(bucket.read("k")), 1)
