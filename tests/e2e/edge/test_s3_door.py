"""S3 clients get the mirror, too: a key that RGW does not have yet comes from the origin, and from RGW ever after.

Real Ceph, PostgreSQL, nginx and botocore. The owner is the RGW user of the service; the guest another user, whom a
bucket policy may let in.
"""

import hashlib
import http.client
import itertools
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.session
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.e2e.mirror.site import Site
from tests.harness.behaviour import Gate
from tests.harness.ceph import Ceph, User
from tests.harness.content import MIB, Content
from tests.harness.names import NASTY_KEYS
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.ports import free_port
from tests.harness.postgres import Postgres
from tests.harness.stack import Stack

BODY = Content(71, 3 * MIB + 11)
BIG = Content(72, 40 * MIB + 5)
OWNER, GUEST = "owner", "guest"


class World:
    """An installation whose edge stands before RGW's S3 endpoint, and two users of that."""

    def __init__(self, folder: Path, origin: FaultOrigin, ceph: Ceph, postgres: Postgres) -> None:
        self.ceph, self.port = ceph, free_port()
        self.users: dict[str, User] = {name: ceph.add_user(f"{name}-{secrets.token_hex(4)}") for name in (OWNER, GUEST)}
        self.stack = Stack(
            folder / "data",
            engines={
                "database_url": postgres.fresh(),
                "secret_key": secrets.token_hex(32),
                "store": "ceph",
                "ceph_gateway": ceph.gateway,
                "ceph_access_key": self.users[OWNER].access_key,
                "ceph_secret_key": self.users[OWNER].secret_key,
                "ceph_removal_grace": "0.1",
            },
            proxies=2,
            origin_allowed_ports=str(origin.port),
            edge_s3_listen=f"127.0.0.1:{self.port}",
        )
        self.stack.start()
        self.site = Site(self.stack, origin, f"s3-{secrets.token_hex(4)}")
        self.site.order()
        self.site.known_by(*self.stack.proxies)

    @property
    def bucket(self) -> str:
        return self.site.bucket

    def client(self, name: str = OWNER, *, direct: bool = False, **config: Any) -> Any:
        """botocore, through the edge or (``direct``) at RGW itself."""
        user = self.users[name]
        return botocore.session.get_session().create_client(
            "s3",
            region_name="default",
            endpoint_url=self.ceph.gateway if direct else f"http://127.0.0.1:{self.port}",
            aws_access_key_id=user.access_key,
            aws_secret_access_key=user.secret_key,
            config=Config(
                **{"signature_version": "s3v4", "retries": {"total_max_attempts": 1}, **config},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                proxies={},
            ),
        )

    def raw(
        self, method: str, target: str, name: str = OWNER, *, sign: bool = True, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """A request as it is written here, signed as RGW's clients sign."""
        request = AWSRequest(method, f"http://127.0.0.1:{self.port}{target}", headers=headers or {})
        if sign:
            user = self.users[name]
            S3SigV4Auth(Credentials(user.access_key, user.secret_key), "s3", "default").add_auth(request)
        return self.send(method, target, list(request.headers.items()))

    def send(self, method: str, target: str, headers: list[tuple[str, str]]) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for header, value in headers:
                connection.putheader(header, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()

    def let_in(self, *actions: str) -> None:
        """A policy that allows the guest these actions in the bucket and on its keys."""
        resource = f"arn:aws:s3:::{self.bucket}"
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam:::user/{self.users[GUEST].name}"]},
            "Action": [f"s3:{action}" for action in actions],
            "Resource": [resource, f"{resource}/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client(direct=True).put_bucket_policy(Bucket=self.bucket, Policy=policy)


@pytest.fixture(scope="module")
def module_origin() -> Iterator[FaultOrigin]:
    with FaultOrigin() as server:
        yield server


@pytest.fixture(scope="module")
def module_world(
    tmp_path_factory: pytest.TempPathFactory, module_origin: FaultOrigin, ceph: Ceph, postgres: Postgres
) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("s3-door"), module_origin, ceph, postgres)
    yield made
    made.stack.stop()


@pytest.fixture
def world(module_world: World, module_origin: FaultOrigin) -> World:
    """The module's installation, with a mirror and a bucket that no other test uses."""
    module_world.site = Site(
        module_world.stack, module_origin, f"s3-{secrets.token_hex(4)}", f"/{secrets.token_hex(4)}"
    )
    module_world.site.order()
    module_world.site.known_by(*module_world.stack.proxies)
    return module_world


def refused(call: Callable[[], object]) -> str:
    """The code of S3's refusal."""
    with pytest.raises(ClientError) as error:
        call()
    return str(error.value.response["Error"]["Code"])


def test_a_bucket_moves_without_downtime(world: World) -> None:
    """Keys come over as they are read; what has come stays when the origin goes, and RGW itself has it."""
    client, bodies = world.client(), {"a/b.bin": BODY, "big": BIG, "empty": Content(0, 0)}
    for key, body in bodies.items():
        world.site.put(f"/{key}", body, etag=f'"{body.md5}"', content_type="image/x-thing")
    for key, body in bodies.items():
        answer = client.get_object(Bucket=world.bucket, Key=key)
        assert answer["Body"].read() == body.read()
        assert (answer["ContentLength"], answer["ContentType"]) == (body.size, "image/x-thing")
        assert answer["ETag"] == f'"{body.md5}"'
        assert answer["LastModified"].year > 2000
        until(lambda key=key: world.site.stored(key))
    there = world.client(direct=True)
    listed = {each["Key"]: each["Size"] for each in there.list_objects_v2(Bucket=world.bucket)["Contents"]}
    assert listed == {key: body.size for key, body in bodies.items()}
    with world.site.origin_down(cut=True):
        for (key, body), reader in itertools.product(bodies.items(), (client, there)):
            answer = reader.get_object(Bucket=world.bucket, Key=key)
            assert answer["Body"].read() == body.read()
            assert "x-rgw-object-type" in answer["ResponseMetadata"]["HTTPHeaders"]
            assert "cache-status" not in answer["ResponseMetadata"]["HTTPHeaders"]


def test_ranges_heads_and_conditions_of_cold_keys(world: World) -> None:
    client, gate = world.client(), Gate()
    world.site.put(
        "/cold", BIG, etag='"v1"', gate=lambda asked: None if "range" in asked.headers else gate, gate_after=2 * MIB
    )
    head = client.head_object(Bucket=world.bucket, Key="cold")
    assert (head["ContentLength"], head["ETag"]) == (BIG.size, '"v1"')
    for first, last in ((0, 99), (MIB, MIB + 9), (BIG.size - 20 * MIB, BIG.size - 19 * MIB)):
        assert_range(client, world, first, last)
    assert refused(lambda: client.get_object(Bucket=world.bucket, Key="cold", IfNoneMatch='"v1"')) == "304"
    assert refused(lambda: client.get_object(Bucket=world.bucket, Key="cold", IfMatch='"v2"')) == "412"
    assert refused(lambda: client.get_object(Bucket=world.bucket, Key="cold", Range=f"bytes={BIG.size}-")) == "416"
    gate.set()
    world.site.stored("cold")
    ranges = [entry.headers.get("range") for entry in world.site.logged("/cold", "GET")]
    assert ranges == [None, f"bytes={BIG.size - 20 * MIB}-{BIG.size - 19 * MIB}"]
    assert world.site.body_bytes("/cold") == BIG.size + MIB + 1


def test_large_ranges_far_ahead_cut_the_running_answer(world: World) -> None:
    client, gate = world.client(), Gate()
    world.site.put(
        "/wide", BIG, etag='"v1"', gate=lambda asked: None if "range" in asked.headers else gate, gate_after=2 * MIB
    )
    for first, last in ((0, 99), (BIG.size - 20 * MIB, BIG.size - 14 * MIB)):
        assert_range(client, world, first, last, key="wide")
    gate.set()
    world.site.stored("wide")
    assert_asked_once(world, "/wide")


def test_ranges_that_the_running_answer_reaches_cost_no_byte_twice(world: World) -> None:
    client, gate = world.client(), Gate()
    world.site.put("/near", BIG, etag='"v1"', gate=gate, gate_after=BIG.size - 1)
    for first, last in ((0, 99), (MIB, MIB + 9), (3 * MIB, 4 * MIB)):
        assert_range(client, world, first, last, key="near")
    gate.set()
    world.site.stored("near")
    assert world.site.body_bytes("/near") == BIG.size


def test_a_far_range_alone_is_the_beginning_of_the_one_fill(world: World) -> None:
    client = world.client()
    world.site.put("/far", BIG, etag='"v1"')
    assert_range(client, world, BIG.size - 20 * MIB, BIG.size - 19 * MIB, key="far")
    world.site.stored("far")
    assert world.site.body_bytes("/far") == BIG.size


def assert_asked_once(world: World, path: str) -> None:
    """The whole was asked for once; what it was cut short for, and what lies behind that, was asked for piece by piece.

    What was in the sockets when it was cut came in vain; how much that is only the kernels know.
    """
    asked = [entry.headers.get("range") for entry in world.site.logged(path, "GET")]
    assert asked.count(None) == 1
    pieces = sorted(tuple(map(int, each.removeprefix("bytes=").split("-"))) for each in asked if each is not None)
    assert all(before[1] + 1 == after[0] for before, after in pairwise(pieces))
    assert not pieces or pieces[-1][1] == BIG.size - 1


def assert_range(client: Any, world: World, first: int, last: int, key: str = "cold") -> None:
    """A range of a cold key comes as S3 clients want it."""
    answer = client.get_object(Bucket=world.bucket, Key=key, Range=f"bytes={first}-{last}")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"] == f"bytes {first}-{last}/{BIG.size}"
    assert answer["AcceptRanges"] == "bytes"
    assert answer["Body"].read() == BIG.read(first, last + 1)


def test_a_download_in_ranges_goes_on_when_the_object_has_been_stored(world: World) -> None:
    """boto3 and aws ask for the first range's ETag (If-Match) in all the others; RGW gives objects another one."""
    client = world.client()
    world.site.put("/k", BIG, etag='"v1"')
    first = client.get_object(Bucket=world.bucket, Key="k", Range="bytes=0-99")
    first["Body"].read()
    world.site.stored("k")
    assert client.head_object(Bucket=world.bucket, Key="k")["ETag"] != '"v1"'

    def later(tag: str = '"v1"', name: str = OWNER) -> bytes:
        answer = world.client(name).get_object(Bucket=world.bucket, Key="k", Range="bytes=100-299", IfMatch=tag)
        assert answer["ContentRange"] == f"bytes 100-299/{BIG.size}"
        return bytes(answer["Body"].read())

    assert later(first["ETag"]) == BIG.read(100, 300)
    assert refused(lambda: later('"v2"')) == "412"
    world.let_in("ListBucket")
    assert refused(lambda: later(name=GUEST)) == "AccessDenied"
    world.let_in("GetObject")
    assert refused(lambda: later(name=GUEST)) == "PreconditionFailed"
    client.put_object(Bucket=world.bucket, Key="k", Body=b"somebody's own")
    assert refused(later) == "PreconditionFailed"


def test_the_same_with_signature_version_2_and_with_a_named_operation(world: World) -> None:
    world.site.put("/v2", BODY)
    answer = world.client(signature_version="s3").get_object(Bucket=world.bucket, Key="v2")
    assert answer["Body"].read() == BODY.read()
    world.site.put("/named", BODY)
    status, _, body = world.raw("GET", f"/{world.bucket}/named?x-id=GetObject")
    assert (status, body) == (200, BODY.read())


@pytest.mark.parametrize("key", NASTY_KEYS.values(), ids=NASTY_KEYS)
def test_keys_mean_the_same_on_all_sides(world: World, key: str) -> None:
    """The origin is asked for the key as S3 clients write it."""
    body = key.encode()
    target = "/" + quote(key, safe="/-._~")
    if {".", ".."} & set(key.split("/")):
        return
    world.site.put(target, body)
    answer = world.client().get_object(Bucket=world.bucket, Key=key)
    assert answer["Body"].read() == body
    until(lambda: world.client(direct=True).list_objects_v2(Bucket=world.bucket).get("Contents"))
    assert world.client(direct=True).get_object(Bucket=world.bucket, Key=key)["Body"].read() == body


@pytest.mark.skipif(shutil.which("aws") is None, reason="there is no aws command line on this machine")
def test_the_aws_command_line_sees_the_origins_objects(world: World, tmp_path: Path) -> None:
    """Its downloads of large objects are those of boto3: many ranges at a time, all under the first one's ETag."""
    user = world.users[OWNER]
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = default\nrequest_checksum_calculation = when_required\n"
        "response_checksum_validation = when_required\ns3 =\n  addressing_style = path\n"
    )
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_CONFIG_FILE": str(config), "AWS_MAX_ATTEMPTS": "1",
        "AWS_ACCESS_KEY_ID": user.access_key, "AWS_SECRET_ACCESS_KEY": user.secret_key, "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip

    def aws(*arguments: str) -> bytes:
        command = ["aws", "--endpoint-url", f"http://127.0.0.1:{world.port}", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    world.site.put("/cold", BIG, etag='"v1"')
    there = ("--bucket", world.bucket, "--key", "cold")
    assert json.loads(aws("s3api", "head-object", *there))["ContentLength"] == BIG.size
    got = json.loads(aws("s3api", "get-object", *there, "--range", "bytes=5-9", str(tmp_path / "part")))
    assert got["ContentRange"] == f"bytes 5-9/{BIG.size}"
    assert (tmp_path / "part").read_bytes() == BIG.read(5, 10)
    aws("s3", "cp", "--quiet", f"s3://{world.bucket}/cold", str(tmp_path / "whole"))
    assert (tmp_path / "whole").read_bytes() == BIG.read()
    world.site.stored("cold")
    assert f"{BIG.size} cold" in aws("s3", "ls", f"s3://{world.bucket}/").decode()


def test_what_the_origin_does_not_have_is_rgws_to_refuse(world: World) -> None:
    client = world.client()
    assert refused(lambda: client.get_object(Bucket=world.bucket, Key="nothing")) == "NoSuchKey"
    assert world.site.count("/nothing") == 1
    assert refused(lambda: client.head_object(Bucket=world.bucket, Key="nothing")) == "404"
    world.site.order(rules=[{"path": "/denied/**", "mode": "deny"}])
    numbers = itertools.count()

    def denied() -> str:
        key = f"denied/{next(numbers)}"
        world.site.put(f"/{key}", BODY)
        try:
            client.get_object(Bucket=world.bucket, Key=key)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "not yet"

    until(denied, lambda code: code == "NoSuchKey")


def test_an_origin_that_fails_has_clients_try_again(world: World) -> None:
    world.site.put("/broken", b"x", status=500)
    assert refused(lambda: world.client().get_object(Bucket=world.bucket, Key="broken")) == "ServiceUnavailable"


def test_writing_deleting_and_listing_are_rgws_own(world: World) -> None:
    client, uploaded = world.client(), Content(73, 6 * MIB)
    world.site.put("/mine", BODY)
    client.put_object(Bucket=world.bucket, Key="mine", Body=BIG.read(), Metadata={"under_score": "kept", "a-b": "c"})
    ways = [made.get_object(Bucket=world.bucket, Key="mine") for made in (client, world.client(direct=True))]
    assert [hashlib.md5(way["Body"].read(), usedforsecurity=False).hexdigest() for way in ways] == [BIG.md5] * 2
    assert ways[0]["Metadata"] == ways[1]["Metadata"]
    assert set(ways[0]["Metadata"].values()) == {"kept", "c"}
    upload = client.create_multipart_upload(Bucket=world.bucket, Key="parts")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(
                Bucket=world.bucket, Key="parts", UploadId=upload, PartNumber=number, Body=uploaded.read()
            )["ETag"],
        }
        for number in (1, 2)
    ]
    client.complete_multipart_upload(
        Bucket=world.bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    ways = [
        made.get_object(Bucket=world.bucket, Key="parts", PartNumber=1) for made in (client, world.client(direct=True))
    ]
    assert [way["ContentLength"] for way in ways] == [ways[1]["ContentLength"]] * 2
    assert ways[0]["Body"].read() == ways[1]["Body"].read()
    client.copy_object(Bucket=world.bucket, Key="copy", CopySource={"Bucket": world.bucket, "Key": "mine"})
    assert [each["Key"] for each in client.list_objects_v2(Bucket=world.bucket)["Contents"]] == [
        "copy",
        "mine",
        "parts",
    ]
    client.delete_object(Bucket=world.bucket, Key="copy")
    assert world.site.logged("/mine") == []
    assert world.site.logged("/parts") == []


def test_what_was_deleted_through_s3_stays_deleted(world: World) -> None:
    """A delete marker says so. Deleting that is how an operator brings the key back."""
    client = world.client()
    world.site.put("/k", BODY)
    client.get_object(Bucket=world.bucket, Key="k")["Body"].read()
    world.site.stored("k")
    for key in ("k", "never-there"):
        world.site.put(f"/{key}", BODY)
        client.delete_object(Bucket=world.bucket, Key=key)
        assert refused(lambda key=key: client.get_object(Bucket=world.bucket, Key=key)) == "NoSuchKey"
        assert refused(lambda key=key: client.head_object(Bucket=world.bucket, Key=key)) == "404"
    assert world.site.count("/k") == 1
    assert world.site.count("/never-there") == 0
    marks = client.list_object_versions(Bucket=world.bucket)["DeleteMarkers"]
    for mark in marks:
        client.delete_object(Bucket=world.bucket, Key=mark["Key"], VersionId=mark["VersionId"])
        assert client.get_object(Bucket=world.bucket, Key=mark["Key"])["Body"].read() == BODY.read()


def test_what_was_deleted_through_the_service_comes_back_from_the_origin(world: World) -> None:
    """As at the mirror's own host: there it is how a copy is renewed."""
    client, there = world.client(), world.client(direct=True)
    world.site.put("/k", BODY)
    client.get_object(Bucket=world.bucket, Key="k")["Body"].read()
    world.site.stored("k")
    tenant, _, name = world.bucket.partition("___")
    world.stack.json("DELETE", f"/ceph/{tenant}/{name}/keys/k")
    until(lambda: there.list_object_versions(Bucket=world.bucket).get("Versions", []), lambda found: found == [])
    assert client.get_object(Bucket=world.bucket, Key="k")["Body"].read() == BODY.read()
    assert world.site.count("/k") == 2


# -- who gets in


def test_only_rgws_404_to_a_signed_request_for_a_key_opens_the_door(world: World) -> None:
    world.site.put("/k", BODY)
    target = f"/{world.bucket}/k"
    closed = [
        world.raw("GET", target, sign=False),
        world.raw("GET", target, GUEST),
        world.raw("GET", target, sign=False, headers={"Authorization": "Bearer x"}),
        world.raw("GET", f"{target}?versionId=null"),
        world.raw("GET", f"{target}?partNumber=1"),
        world.raw("GET", f"{target}?acl="),
        world.raw("GET", f"{target}?tagging="),
        world.raw("GET", f"{target}?response-content-type=text/plain"),
        world.raw("GET", "/mirrors___not-there/k"),
        world.raw("GET", "/plain-bucket/k"),
        world.raw("HEAD", "/mirrors___not-there/k"),
        world.raw("DELETE", f"/{world.bucket}/other?versionId=null"),
    ]
    assert {status for status, _, _ in closed} <= {204, 400, 403, 404, 405}
    assert not any(BODY.read(0, 100) in body for _, _, body in closed)
    assert world.site.logged("/k") == []
    user = world.users[OWNER]
    wrong = Credentials(user.access_key, "wrong")
    request = AWSRequest("GET", f"http://127.0.0.1:{world.port}{target}")
    S3SigV4Auth(wrong, "s3", "default").add_auth(request)
    assert world.send("GET", target, list(request.headers.items()))[0] == 403
    request = AWSRequest("GET", f"http://127.0.0.1:{world.port}{target}")
    S3SigV4QueryAuth(Credentials(user.access_key, user.secret_key), "s3", "default", expires=60).add_auth(request)
    parts = urlsplit(request.url)
    status, _, body = world.send("GET", f"{parts.path}?{parts.query}", [])
    assert (status, b"NoSuchKey" in body) == (404, True)
    assert world.site.logged("/k") == []
    assert world.raw("GET", target)[2] == BODY.read()


def test_who_may_list_but_not_read_sees_nothing_of_the_mirror(world: World) -> None:
    """To these users RGW says 404 of what is missing, and 403 of what is there."""
    world.let_in("ListBucket")
    world.site.put("/k", BODY)
    status, _, body = world.raw("GET", f"/{world.bucket}/k", GUEST)
    assert (status, b"AccessDenied" in body) == (403, True)
    assert world.raw("HEAD", f"/{world.bucket}/k", GUEST)[0] == 403


@pytest.mark.parametrize("disguise", ["two headers", "two credentials", "credentials turned round"])
def test_nobody_passes_for_the_owner(world: World, disguise: str) -> None:
    world.let_in("ListBucket")
    world.site.put("/k", BODY)
    target, owner = f"/{world.bucket}/k", world.users[OWNER].access_key
    user = world.users[GUEST]
    request = AWSRequest("GET", f"http://127.0.0.1:{world.port}{target}")
    S3SigV4Auth(Credentials(user.access_key, user.secret_key), "s3", "default").add_auth(request)
    headers = dict(request.headers.items())
    signed = headers.pop("Authorization")
    scheme, _, fields = signed.partition(" ")
    false = signed.replace(user.access_key, owner)
    shown = {
        "two headers": [false, signed],
        "two credentials": [f"{scheme} Credential={owner}/x, {fields}"],
        "credentials turned round": [f"{scheme} {fields}, Credential={owner}/x"],
    }[disguise]
    for order in (shown, shown[::-1]):
        pairs = [*headers.items(), *(("Authorization", value) for value in order)]
        status, _, body = world.send("GET", target, pairs)
        assert (status in {400, 403, 404}, BODY.read(0, 100) in body) == (True, False)


def test_who_may_read_by_a_policy_gets_it_from_rgw_once_it_is_stored(world: World) -> None:
    world.let_in("ListBucket", "GetObject")
    guest = world.client(GUEST)
    world.site.put("/k", BODY, etag='"v1"')
    answer = guest.get_object(Bucket=world.bucket, Key="k", Range="bytes=5-9")
    assert answer["Body"].read() == BODY.read(5, 10)
    assert "x-rgw-object-type" in answer["ResponseMetadata"]["HTTPHeaders"]
    world.site.put("/head", BODY)
    assert guest.head_object(Bucket=world.bucket, Key="head")["ETag"] == f'"{BODY.md5}"'
    assert refused(lambda: guest.get_object(Bucket=world.bucket, Key="nothing")) == "NoSuchKey"
    world.site.put("/fleeting", BODY, headers=[("Cache-Control", "no-store")])
    assert refused(lambda: guest.get_object(Bucket=world.bucket, Key="fleeting")) == "NoSuchKey"


def test_a_private_mirror_is_open_to_whom_rgw_lets_in(world: World) -> None:
    world.site.order(private=True)
    world.site.put("/k", BODY)
    for proxy in world.stack.proxies:
        there = Site(proxy, world.site.origin, world.site.host.removesuffix(".test"))
        until(lambda there=there: there.get("/not-there").status == 401)
    status, headers, body = world.raw("GET", f"/{world.bucket}/k")
    assert (status, body) == (200, BODY.read())
    assert headers["cache-control"] == "private"
    assert world.raw("GET", f"/{world.bucket}/k", sign=False)[0] == 403


def test_a_guest_at_a_private_mirror_waits_for_the_fill_of_another_process(world: World) -> None:
    """Who fills the key asks for a token that nobody here has. Several keys, so that the edge asks either process."""
    world.site.order(private=True)
    world.let_in("ListBucket", "GetObject")
    gate, keys = Gate(), [f"p{number}" for number in range(6)]
    for key in keys:
        world.site.put(f"/{key}", BODY, gate=gate, gate_after=MIB)
    first = world.stack.proxies[0]
    there = Site(first, world.site.origin, world.site.host.removesuffix(".test"))
    until(lambda: there.get("/not-there").status == 401)
    guest = world.client(GUEST)
    with ExitStack() as reading, ThreadPoolExecutor(len(keys)) as asking:
        for key in keys:
            reader = reading.enter_context(
                there.open(f"/{key}", {"Authorization": f"Bearer {world.stack.admin_token}"})
            )
            assert reader.read(MIB) == BODY.read(0, MIB)
        asked = [asking.submit(guest.get_object, Bucket=world.bucket, Key=key) for key in keys]
        refused_soon = wait(asked, timeout=1.0, return_when=FIRST_COMPLETED).done
        assert not refused_soon  # nobody can have got it yet
        gate.set()
        for answer in asked:
            assert answer.result()["Body"].read() == BODY.read()
    assert [world.site.count(f"/{key}", "GET") for key in keys] == [1] * len(keys)


def test_signatures_and_tokens_stay_on_this_side(world: World) -> None:
    world.site.order(rules=[{"path": "/**", "pass_headers": ["authorization", "x-amz-date", "host"]}])
    world.site.put("/k", BODY)
    until(lambda: world.raw("GET", f"/{world.bucket}/k")[0] == 200)
    [asked] = world.site.logged("/k")
    said = {name.lower(): value for name, value in dict(asked.headers).items()}
    assert not {"authorization", "x-amz-date", "x-amz-content-sha256"} & said.keys()


def test_the_door_is_on_no_other_side(world: World) -> None:
    """Neither a proxy nor the edge's own front takes the question from anybody but nginx."""
    world.site.put("/k", BODY)
    target = f"/s3/{world.bucket}/k"
    for service in (world.stack, *world.stack.proxies):
        for headers in ({}, {"X-CephStorage-S3": "asks"}, {"X-CephStorage-S3": "let-in"}):
            assert service.call("GET", target, headers=headers).status == 404
    assert world.site.logged("/k") == []


def test_many_clients_of_one_cold_key_and_one_origin_read(world: World) -> None:
    """Through both proxies, while the origin still sends."""
    gate = Gate()
    world.site.put("/cold", BODY, gate=gate, gate_after=MIB)
    client = world.client()
    answers = [client.get_object(Bucket=world.bucket, Key="cold") for _ in range(6)]
    begun = [answer["Body"].read(1000) for answer in answers]
    gate.set()
    assert {start + answer["Body"].read() for start, answer in zip(begun, answers, strict=True)} == {BODY.read()}
    assert world.site.count("/cold") == 1
    assert world.site.body_bytes("/cold") == BODY.size


def test_without_proxies_rgw_is_served_and_mirrored_keys_are_asked_for_later(world: World) -> None:
    client = world.client()
    client.put_object(Bucket=world.bucket, Key="there", Body=b"x")
    for proxy in world.stack.proxies:
        proxy.kill()
    try:
        assert client.get_object(Bucket=world.bucket, Key="there")["Body"].read() == b"x"
        assert refused(lambda: client.get_object(Bucket=world.bucket, Key="k")) == "ServiceUnavailable"
        assert refused(lambda: client.get_object(Bucket="plain", Key="k")) == "NoSuchBucket"
    finally:
        world.stack.start()
