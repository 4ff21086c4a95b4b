"""Registries on a fault origin: what npm's and Maven's clients expect of one, made of a few packages of our own."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from typing import Any

from tests.harness.origin import FaultOrigin


class NpmRegistry:
    """A registry below an address: packuments with dist-tags, integrity and tarball links to itself."""

    def __init__(self, origin: FaultOrigin, prefix: str = "") -> None:
        self._origin = origin
        self._prefix = prefix
        self._packages: dict[str, dict[str, Any]] = {}
        self.tarballs: dict[str, bytes] = {}

    def publish(self, name: str, version: str, dependencies: dict[str, str] | None = None) -> str:
        """Add a version, which becomes the latest; the path of its tarball."""
        manifest = {"name": name, "version": version, "dependencies": dependencies or {}, "main": "index.js"}
        data = _tarball({"package.json": json.dumps(manifest), "index.js": f"module.exports = '{name}@{version}'\n"})
        path = f"/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
        dist = {
            "tarball": f"{self._origin.url}{self._prefix}{path}",
            "integrity": f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}",
            "shasum": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        }
        package = self._packages.setdefault(name, {"name": name, "dist-tags": {}, "versions": {}})
        package["versions"][version] = {**manifest, "dist": dist}
        package["dist-tags"]["latest"] = version
        document = json.dumps(package).encode()
        cookies = [("Set-Cookie", "__session=1; HttpOnly")]
        for spelling in {f"/{name}", f"/{name.replace('/', '%2f')}"}:
            self._origin.put(self._prefix + spelling, document, content_type="application/json", headers=cookies)
        self._origin.put(self._prefix + path, data, headers=cookies)
        self.tarballs[path] = data
        return path


def _tarball(files: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mode = len(text.encode()), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(made.getvalue(), mtime=0)


class MavenRepository:
    """A repository below an address: POMs and JARs with their checksums, and metadata of snapshots."""

    def __init__(self, origin: FaultOrigin, prefix: str = "") -> None:
        self._origin = origin
        self._prefix = prefix

    def put(self, path: str, data: bytes, sha1_of: bytes | None = None) -> None:
        """Serve a file and its sha1; ``sha1_of``: that of other bytes."""
        digest = hashlib.sha1(data if sha1_of is None else sha1_of, usedforsecurity=False).hexdigest()
        self._origin.put(f"{self._prefix}{path}", data)
        self._origin.put(f"{self._prefix}{path}.sha1", digest.encode(), content_type="text/plain")

    def release(self, name: str, version: str, packaging: str = "pom", group: str = "org.example") -> str:
        """Publish a POM, and an empty JAR beside it; the path without extension."""
        path = f"/{group.replace('.', '/')}/{name}/{version}/{name}-{version}"
        self.put(f"{path}.pom", pom(name, version, packaging, group=group))
        if packaging == "jar":
            self.put(f"{path}.jar", _jar(name))
        return path

    def snapshot(self, name: str, version: str, build: int, **elements: str) -> str:
        """Publish a build of a snapshot and the metadata that names it as the newest; the path of the metadata."""
        stamp = f"20240101.12000{build}"
        folder = f"/org/example/{name}/{version}-SNAPSHOT"
        unique = f"{version}-{stamp}-{build}"
        self.put(f"{folder}/{name}-{unique}.pom", pom(name, f"{version}-SNAPSHOT", "pom", **elements))
        metadata = (
            f'<metadata modelVersion="1.1.0"><groupId>org.example</groupId><artifactId>{name}</artifactId>'
            f"<version>{version}-SNAPSHOT</version><versioning><snapshot><timestamp>{stamp}</timestamp>"
            f"<buildNumber>{build}</buildNumber></snapshot><lastUpdated>2024010112000{build}</lastUpdated>"
            f"<snapshotVersions><snapshotVersion><extension>pom</extension><value>{unique}</value>"
            f"<updated>2024010112000{build}</updated></snapshotVersion></snapshotVersions></versioning></metadata>"
        )
        self.put(f"{folder}/maven-metadata.xml", metadata.encode())
        return f"{folder}/maven-metadata.xml"


def pom(name: str, version: str, packaging: str = "pom", group: str = "org.example", **elements: str) -> bytes:
    """A project's description; ``elements`` are further children by name."""
    more = "".join(f"<{tag}>{content}</{tag}>" for tag, content in elements.items())
    return (
        f'<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>{more}'
        f"<groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>"
        f"<packaging>{packaging}</packaging></project>"
    ).encode()


def _jar(name: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), "Manifest-Version: 1.0\n")
        archive.writestr(zipfile.ZipInfo(f"{name}.txt"), name)
    return made.getvalue()
