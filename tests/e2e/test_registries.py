"""The presets npm and maven before registries of our own, which speak the ecosystems' protocols; with the real clients where they are.

No registry outside is asked: the origin is on this machine, and the clients reach everything through the mirror.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.registries import MavenRepository, NpmRegistry, pom
from tests.harness.service import Service

Launch = Callable[..., Service]


def mirror(launch: Launch, origin: FaultOrigin, preset: str, **wish: Any) -> Site:
    """A mirror of the origin's ``/registry`` under ``PRESET.test``."""
    site = Site(launch(), origin, preset, "/registry")
    site.order(preset=preset, **wish)
    return site


def run(command: list[str], folder: Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{' '.join(command[:3])}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def bare_environment(home: Path) -> dict[str, str]:
    """Nothing of this machine's own configuration but where its programs are."""
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
    return {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8"}


# -- npm


def test_a_packument_leads_through_the_mirror_and_follows_new_versions(launch: Launch, origin: FaultOrigin) -> None:
    registry = NpmRegistry(origin, "/registry")
    tarball = registry.publish("left", "1.0.0")
    site = mirror(launch, origin, "npm", rules=[])
    document = json.loads(site.get("/left").body)
    assert document["dist-tags"] == {"latest": "1.0.0"}
    address = document["versions"]["1.0.0"]["dist"]["tarball"]
    public = site.service.url.replace("127.0.0.1", site.host)
    assert address == f"{public}{tarball}"
    answer = site.get(tarball, {"Host": address.split("/")[2]})
    assert answer.body == registry.tarballs[tarball]
    assert "set-cookie" not in answer.headers
    site.stored(tarball[1:])
    site.stored("left")
    registry.publish("left", "1.1.0")
    assert json.loads(site.get("/left").body)["dist-tags"] == {"latest": "1.0.0"}
    site.service.json("POST", "/mirrors/purge", {"mirror": site.host, "path": "/left", "refresh": True})
    latest = until(lambda: json.loads(site.get("/left").body)["dist-tags"]["latest"], lambda seen: seen == "1.1.0")
    assert latest == "1.1.0"


def test_a_tarball_that_is_not_what_its_packument_says_is_not_stored(launch: Launch, origin: FaultOrigin) -> None:
    registry = NpmRegistry(origin, "/registry")
    good, evil = registry.publish("left", "1.0.0"), registry.publish("left", "1.0.1")
    site = mirror(launch, origin, "npm")
    site.put(evil, b"evil" + registry.tarballs[evil])
    answer = site.get(evil)
    assert (answer.status, problem_code(answer)) == (502, "digest_mismatch")
    assert site.get(good).body == registry.tarballs[good]
    site.stored(good[1:])
    assert site.record(evil[1:]) is None


def test_a_scoped_package_has_one_copy(launch: Launch, origin: FaultOrigin) -> None:
    registry = NpmRegistry(origin, "/registry")
    tarball = registry.publish("@team/left", "1.0.0")
    site = mirror(launch, origin, "npm")
    first = site.get("/@team%2fleft")
    site.stored("@team/left")
    for spelling in ("/@team/left", "/@team%2Fleft", "/@team%2fleft"):
        assert site.get(spelling).body == first.body
    assert site.count("/@team%2fleft") + site.count("/@team/left") == 1
    assert site.get(tarball).body == registry.tarballs[tarball]


@pytest.mark.slow
@pytest.mark.stacks("direct")  # the client speaks to a proxy, and only the service itself is one
@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm on this machine")
def test_npm_installs_again_without_its_registry(tmp_path: Path, launch: Launch, origin: FaultOrigin) -> None:
    registry = NpmRegistry(origin, "/registry")
    registry.publish("@team/right", "2.0.0")
    registry.publish("left", "1.0.0")
    registry.publish("left", "1.2.0", {"@team/right": "^2.0.0"})
    site = mirror(launch, origin, "npm")

    def install(name: str) -> dict[str, str]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "package.json").write_text(json.dumps({"name": "app", "version": "1.0.0"}))
        settings = {
            "registry": f"http://{site.host}/", "proxy": site.service.url, "noproxy": "", "fund": "false", "audit": "false",
            "update-notifier": "false", "cache": str(folder / "cache"), "fetch-retries": "0",
        }  # fmt: skip
        (folder / ".npmrc").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        run(["npm", "install", "left@^1.0.0"], folder, bare_environment(tmp_path / "home"))
        installed = sorted(folder.glob("node_modules/**/package.json"))
        return {each["name"]: each["version"] for each in (json.loads(path.read_text()) for path in installed)}

    expected = {"left": "1.2.0", "@team/right": "2.0.0"}
    assert install("first") == expected
    files = {path[1:] for path in registry.tarballs if "1.0.0" not in path}
    until(lambda: files | {"left", "@team/right"} <= set(site.keys()))
    asked = {path: site.count(path) for path in registry.tarballs}
    assert asked == {path: int("1.0.0" not in path) for path in registry.tarballs}
    with site.origin_down():
        assert install("second") == expected


# -- maven


def test_maven_files_their_checksums_and_snapshots(launch: Launch, origin: FaultOrigin) -> None:
    repository = MavenRepository(origin, "/registry")
    path = repository.release("app", "1.0", "jar")
    metadata = repository.snapshot("parent", "1.1", 1)
    site = mirror(launch, origin, "maven", rules=[{"path": "maven-metadata.xml*", "mode": "revalidate", "ttl": 0}])
    jar = site.get(f"{path}.jar").body
    assert site.get(f"{path}.jar.sha1").body.decode() == hashlib.sha1(jar, usedforsecurity=False).hexdigest()
    site.stored(f"{path[1:]}.jar")
    assert [site.count(f"{path}.jar"), site.count(f"{path}.jar.sha1")] == [1, 1]
    assert b"120001-1" in site.get(metadata).body
    site.stored(metadata[1:])
    repository.snapshot("parent", "1.1", 2)
    assert b"120002-2" in site.get(metadata).body
    repository.put(f"{path}-evil.jar", b"evil", sha1_of=jar)
    answer = site.get(f"{path}-evil.jar")
    assert (answer.status, problem_code(answer)) == (502, "digest_mismatch")
    assert [site.get("/org/none/1/none-1.jar").status for _ in range(3)] == [404, 404, 404]
    assert site.count("/org/none/1/none-1.jar") == 1


@pytest.mark.slow
@pytest.mark.stacks("direct")  # the client speaks to a proxy, and only the service itself is one
@pytest.mark.skipif(shutil.which("mvn") is None, reason="there is no Maven on this machine")
def test_maven_resolves_again_without_its_repository(tmp_path: Path, launch: Launch, origin: FaultOrigin) -> None:
    """A parent POM that is a snapshot, and a JAR that extends the build: Maven needs no plugin to fetch them."""
    repository = MavenRepository(origin, "/registry")
    extension = repository.release("extension", "2.0", "jar")
    repository.release("plexus-utils", "1.1", "jar", "org.codehaus.plexus")  # which Maven gives to every extension
    repository.snapshot("parent", "1.1", 1)
    site = mirror(launch, origin, "maven")
    project = tmp_path / "project"
    project.mkdir()
    parent = (
        "<groupId>org.example</groupId><artifactId>parent</artifactId><version>1.1-SNAPSHOT</version><relativePath/>"
    )
    used = "<groupId>org.example</groupId><artifactId>extension</artifactId><version>2.0</version>"
    described = pom("app", "1.0", parent=parent, build=f"<extensions><extension>{used}</extension></extensions>")
    (project / "pom.xml").write_bytes(described)
    snapshots = "<releases><enabled>true</enabled></releases><snapshots><enabled>true</enabled></snapshots>"
    (tmp_path / "settings.xml").write_text(
        f"<settings><proxies><proxy><id>p</id><active>true</active><protocol>http</protocol><host>127.0.0.1</host>"
        f"<port>{site.service.port}</port></proxy></proxies>"
        f"<mirrors><mirror><id>ours</id><mirrorOf>*</mirrorOf><url>http://{site.host}/</url></mirror></mirrors>"
        f"<profiles><profile><id>all</id><repositories><repository><id>central</id><url>http://unused.test</url>{snapshots}"
        f"</repository></repositories></profile></profiles><activeProfiles><activeProfile>all</activeProfile></activeProfiles></settings>"
    )
    (tmp_path / "global.xml").write_text("<settings/>")

    def resolve(name: str) -> None:
        home = tmp_path / name
        command = [
            "mvn",
            "-B",
            "-C",
            "-e",
            "-s",
            "../settings.xml",
            "-gs",
            "../global.xml",
            f"-Dmaven.repo.local={home}/repo",
        ]
        run([*command, "validate"], project, bare_environment(home))
        assert (home / "repo/org/example/extension/2.0/extension-2.0.jar").is_file()
        assert list((home / "repo/org/example/parent/1.1-SNAPSHOT").glob("parent-1.1-*.pom"))

    resolve("first")
    until(lambda: f"{extension[1:]}.jar" in site.keys())  # noqa: SIM118
    assert site.count(f"{extension}.jar") == 1
    assert site.count(f"{extension}.jar.sha1") == 1
    with site.origin_down():
        resolve("second")


# -- files and pages


def test_static_files_are_long_lived_and_pages_are_not(launch: Launch, origin: FaultOrigin) -> None:
    site = mirror(launch, origin, "generic-static")
    site.put("/iso/", b"<a href=x.iso>", content_type="text/html")
    site.put("/about", b"<p>", content_type="text/html")
    site.put("/iso/x.iso", b"image", headers=[("Set-Cookie", "a=b")])
    for path in ("/iso/", "/about", "/iso/x.iso"):
        answer = site.get(path)
        assert "set-cookie" not in answer.headers
        site.stored(path[1:])
    fresh = {path: site.explain(path)["fresh_for"] for path in ("/iso/", "/about", "/iso/x.iso")}
    assert fresh["/iso/"] <= 300
    assert fresh["/about"] <= 300
    assert 300 < fresh["/iso/x.iso"] <= 86400


def test_a_website_is_as_fresh_as_it_says_and_redirects_its_readers(launch: Launch, origin: FaultOrigin) -> None:
    site = mirror(launch, origin, "website")
    site.put("/page", b"one", etag='"1"', headers=[("Cache-Control", "max-age=0, must-revalidate")])
    site.put("/style", b"style one", headers=[("Cache-Control", "max-age=3600")])
    site.put("/me", b"for you", headers=[("Set-Cookie", "a=b"), ("Cache-Control", "no-store")])
    site.put("/old", redirect=f"{origin.url}/registry/page", redirect_status=301)
    site.put("/none", b"nothing", status=404)
    for path in ("/page", "/style"):
        site.get(path)
        site.stored(path[1:])
    site.put("/page", b"two", etag='"2"', headers=[("Cache-Control", "max-age=0, must-revalidate")])
    site.put("/style", b"style two", headers=[("Cache-Control", "max-age=3600")])
    assert (site.get("/page").body, site.get("/style").body) == (b"two", b"style one")
    site.put("/form", b"sent", status=201)
    assert site.get("/form", method="POST").status == 201
    mine = site.get("/me")
    assert (mine.body, mine.headers["set-cookie"]) == (b"for you", "a=b")
    old = site.get("/old")
    assert (old.status, old.headers["location"]) == (301, "/page")
    assert [site.get("/none").status for _ in range(2)] == [404, 404]
    assert site.explain("/none")["decision"] == "KnownAbsent"
    assert not {"me", "old", "none"} & set(site.keys())
