"""Bytes that have to match a digest which stands beside the file, or in its name."""

import gzip
import hashlib
import http.client
import lzma
from collections.abc import Callable

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.harness.content import MIB, Content
from tests.harness.patience import until

WITHHELD = 64 * 1024
RULES = [
    {"suffix": ".iso", "digest": ".sha256"},
    {"suffix": ".jar", "digest": ".sha1"},
    {"path": "**/by-hash/**", "digest": "by-hash"},
]


def put_digest(site: Site, path: str, algorithm: str, data: bytes) -> None:
    site.put(f"{path}.{algorithm}", f"{hashlib.new(algorithm, data).hexdigest()}  {path.rpartition('/')[2]}\n".encode())


@pytest.mark.parametrize(("path", "algorithm"), [("/a/x.iso", "sha256"), ("/a/x.jar", "sha1")])
def test_what_matches_is_stored_and_the_digest_is_read_once(site: Site, path: str, algorithm: str) -> None:
    site.order(rules=RULES)
    body = Content(1, 2 * MIB)
    site.put(path, body)
    put_digest(site, path, algorithm, body.read())
    assert {answer.body for answer in site.get_all([path] * 5)} == {body.read()}
    assert site.stored(path[1:])["md5"] == body.md5
    expected = hashlib.new(algorithm, body.read()).hexdigest()
    assert site.get(f"{path}.{algorithm}").body.split()[0].decode() == expected
    assert [site.count(path), site.count(f"{path}.{algorithm}")] == [1, 1]


def test_what_does_not_match_is_cut_off_before_its_end_and_not_stored(site: Site) -> None:
    site.order(rules=RULES)
    body = Content(2, 2 * MIB)
    site.put("/x.iso", body)
    put_digest(site, "/x.iso", "sha256", b"another one")
    try:
        with site.open("/x.iso") as answer:
            if answer.status == 200:
                received = answer.until_cut()
                assert len(received) <= len(body) - WITHHELD
                assert body.read().startswith(received)
            else:
                assert answer.status == 502
    except http.client.RemoteDisconnected:
        pass
    assert site.settled("/x.iso")["record"] is None
    again = site.get("/x.iso")
    assert (again.status, problem_code(again)) == (502, "origin_cooling")
    assert site.count("/x.iso") == 1


def test_a_stored_copy_stays_when_a_new_one_does_not_match(site: Site) -> None:
    site.order(rules=[{"suffix": ".iso", "digest": ".sha256", "mode": "revalidate", "ttl": 0}])
    put_digest(site, "/x.iso", "sha256", b"good")
    site.fill("/x.iso", b"good")
    site.put("/x.iso", b"evil")
    assert [site.get("/x.iso").body for _ in range(2)] == [b"good", b"good"]
    assert site.settled("/x.iso")["record"]["generation"] == 1


@pytest.mark.parametrize("status", [404, 500])
def test_a_file_without_a_digest_is_stored_as_any_other(site: Site, status: int) -> None:
    site.order(rules=RULES)
    site.put("/x.iso.sha256", b"none", status=status)
    site.fill("/x.iso", b"the file")


def test_what_is_named_by_its_digest(site: Site) -> None:
    site.order(rules=RULES)
    good = hashlib.sha256(b"good").hexdigest()
    site.fill(f"/dists/by-hash/SHA256/{good}", b"good")
    site.put(f"/dists/by-hash/MD5Sum/{'0' * 32}", b"evil")
    answer = site.get(f"/dists/by-hash/MD5Sum/{'0' * 32}")
    assert (answer.status, problem_code(answer)) == (502, "digest_mismatch")
    assert until(site.keys) == [f"dists/by-hash/SHA256/{good}"]


def test_an_object_in_pieces_is_checked_whole(site: Site) -> None:
    site.order(rules=RULES)
    body = Content(3, 24 * MIB)
    site.put("/x.iso", body)
    put_digest(site, "/x.iso", "sha256", body.read())
    assert site.range("/x.iso", "-1000").body == body.read()[-1000:]
    assert site.stored("x.iso")["md5"] == body.md5
    assert site.body_bytes("/x.iso") == len(body)


@pytest.mark.parametrize(
    ("name", "pack"), [("Packages", bytes), ("Packages.gz", gzip.compress), ("Packages.xz", lzma.compress)]
)
def test_what_a_packages_index_names(site: Site, name: str, pack: Callable[[bytes], bytes]) -> None:
    """The index is read through the mirror, once for all of its packages; what it does not name is not checked."""
    index = f"/debian/dists/x/main/binary-all/{name}"
    site.order(
        preset="debian",
        rules=[{"suffix": ".deb", "mode": "immutable", "digest": "packages", "digest_indexes": [index]}],
    )
    named = {f"pool/main/{number}.deb": Content(number, MIB).read() for number in (1, 2, 3)}
    paragraphs = [
        f"Package: p\nFilename: {path}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        for path, data in named.items()
    ]
    site.put(index, pack("\n".join(paragraphs).encode()))
    for path, data in named.items():
        site.put(f"/debian/{path}", data if "3.deb" not in path else b"evil" + data[4:])
    site.put("/debian/pool/main/other.deb", b"not named")
    assert [site.get(f"/debian/pool/main/{number}.deb").body for number in (1, 2)] == list(named.values())[:2]
    assert site.stored("debian/pool/main/1.deb")
    assert site.get("/debian/pool/main/other.deb").body == b"not named"
    with site.open("/debian/pool/main/3.deb") as answer:
        assert answer.status in {200, 502}
        if answer.status == 200:
            answer.until_cut()
    assert site.settled("/debian/pool/main/3.deb")["record"] is None
    assert site.count(index) == 1
