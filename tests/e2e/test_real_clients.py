"""Real apt and pip through a mirror. Which registry is asked stands in this machine's own configuration only.

Everything is read at run time: the origin from apt's sources and from pip's settings, its addresses
from the resolver (they are allowed by exact address, since some machines have a registry on an address
that is not public). Where no registry can be reached the tests are skipped, but fail in CI.
"""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, urljoin, urlsplit

import pytest

from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service

pytestmark = [pytest.mark.network, pytest.mark.slow]

APT_HOST, PIP_HOST = "debian.mirror", "pypi.mirror"
PACKAGE, WHEEL = "hostname", "six"
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


def unreachable(why: str) -> NoReturn:
    """Skip, or fail in CI, where the network is part of the bargain."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def plain_environment() -> dict[str, str]:
    """The environment without anything that leads pip or apt elsewhere."""
    gone = {name for name in os.environ if name.startswith(("PIP_", "UV_", "APT_")) or name.lower() in _PROXIES}
    return {name: value for name, value in os.environ.items() if name not in gone}


def run(command: list[str], env: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{' '.join(command[:4])}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def addresses(*urls: str) -> str:
    """The addresses of these origins, as the setting takes them."""
    found = set()
    for parts in map(urlsplit, urls):
        try:
            found |= {str(entry[4][0]) for entry in socket.getaddrinfo(parts.hostname, parts.port or parts.scheme)}
        except OSError as error:
            unreachable(f"the registry's name can't be resolved: {error}")
    return ",".join(sorted(found))


def read(url: str, ca_file: str | None = None) -> str:
    """A small document from the registry itself."""
    try:
        with urllib.request.urlopen(url, timeout=60, context=ssl.create_default_context(cafile=ca_file)) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, TimeoutError) as error:
        unreachable(f"the registry can't be reached: {error}")


def cut_off(launch: Callable[..., Service], host: str, mirror: dict[str, object], dead: FaultOrigin) -> Service:
    """The service again on the same data, with an origin that answers nothing but 404 and logs who asks for what."""
    again = launch()
    again.json("POST", "/mirrors/host", {**mirror, "mirror": host, "origin": dead.url})
    return again


def stored(service: Service, host: str, path: str) -> bool:
    """Whether the mirror answers a path from the store, by its own explanation and by its answer."""
    told = service.json("GET", f"/explain?url={quote(f'http://{host}{path}', safe='')}")
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("HEAD", path, headers={"Host": host})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return told["decision"] == "StoreHit" and answer.status == 200 and "; hit" in str(answer.headers["Cache-Status"])


# -- apt


@dataclass(frozen=True)
class AptSource:
    """One archive of this machine's apt: its address, the first suite, and how it is verified."""

    uri: str
    suite: str
    trust: str


def apt_source() -> AptSource:
    """The first archive with packages in ``main``, from either form of sources file."""
    etc = Path("/etc/apt")
    for file in sorted(etc.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            if (found := from_stanza(stanza)) is not None:
                return found
    for file in [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]:
        for line in file.read_text().splitlines() if file.is_file() else []:
            if (found := from_line(line)) is not None:
                return found
    unreachable("this machine's apt has no archive with a component main")


def from_stanza(stanza: str) -> AptSource | None:
    text = "\n".join(line for line in stanza.splitlines() if not line.startswith("#"))
    fields = {n.lower(): v for n, v in re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", text, re.MULTILINE)}
    if fields.get("enabled", "yes").strip() == "no" or "deb" not in fields.get("types", "").split():
        return None
    if "main" not in fields.get("components", "").split():
        return None
    trust = f"Signed-By: {fields['signed-by']}\n" if "signed-by" in fields else ""
    return AptSource(listed_mirror(fields["uris"].split()[0]), fields["suites"].split()[0], trust)


def from_line(line: str) -> AptSource | None:
    found = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line)
    if found is None or "main" not in found[4].split():
        return None
    options = dict(option.split("=", 1) for option in (found[1] or "").split())
    trust = f"Signed-By: {options['signed-by']}\n" if "signed-by" in options else ""
    return AptSource(listed_mirror(found[2]), found[3], trust)


def listed_mirror(uri: str) -> str:
    """An address, also where apt is told to read it from a file."""
    if uri.startswith("mirror+file:"):
        uri = Path(uri.removeprefix("mirror+file:")).read_text().split()[0]
    return uri.rstrip("/")


class Apt:
    """A real apt client with folders of its own, which reaches everything through the service."""

    def __init__(self, folder: Path, source: AptSource, service: Service) -> None:
        self.folder = folder
        self.path = urlsplit(source.uri).path
        self._source = source
        for name in ("etc/none", "state/lists/partial", "cache/archives/partial", "downloads"):
            (folder / name).mkdir(parents=True)
        (folder / "state/status").touch()
        (folder / "etc/sources.list.d").mkdir()
        (folder / "etc/sources.list.d/mirror.sources").write_text(
            f"Types: deb\nURIs: http://{APT_HOST}{self.path}\nSuites: {source.suite}\nComponents: main\n{source.trust}"
        )
        self.use(service)

    def use(self, service: Service) -> None:
        """Reach everything through this service."""
        options = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": f"{self.folder}/etc/none",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": f"{self.folder}/etc/sources.list.d",
            "Dir::State": f"{self.folder}/state",
            "Dir::State::status": f"{self.folder}/state/status",
            "Dir::Cache": f"{self.folder}/cache",
            "APT::Sandbox::User": subprocess.run(
                ["id", "-un"], capture_output=True, text=True, check=True
            ).stdout.strip(),
            "APT::Architectures": apt_setting("APT::Architecture"),
            "Acquire::Languages": "none",
            "Acquire::Check-Valid-Until": apt_setting("Acquire::Check-Valid-Until") or "true",
            "Acquire::Check-Date": apt_setting("Acquire::Check-Date") or "true",
            "Acquire::http::Proxy": service.url,
            "Acquire::Retries": "0",
        }
        (self.folder / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in options.items()))

    def __call__(self, *arguments: str) -> str:
        env = plain_environment() | {"APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        return run(["apt-get", *arguments], env, self.folder / "downloads")

    def forget(self) -> None:
        """Clear everything that apt has downloaded."""
        for name in ("state/lists", "cache", "downloads"):
            shutil.rmtree(self.folder / name)
        for name in ("state/lists/partial", "cache/archives/partial", "downloads"):
            (self.folder / name).mkdir(parents=True)

    def download(self) -> tuple[str, bytes]:
        """Update the lists and download the package: its path below the mirror's host, and its bytes."""
        self("update")
        [address] = re.findall(r"^'([^']+)'", self("download", "--print-uris", PACKAGE), re.MULTILINE)
        self("download", PACKAGE)
        [package] = (self.folder / "downloads").glob("*.deb")
        return urlsplit(address).path, package.read_bytes()


def apt_setting(name: str) -> str:
    """One setting of this machine's apt."""
    told = subprocess.run(["apt-config", "shell", "VALUE", name], capture_output=True, text=True, check=True).stdout
    return told.strip().removeprefix("VALUE=").strip("'")


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="there is no apt on this machine")
def test_apt_downloads_again_without_asking_for_anything_immutable(
    tmp_path: Path, launch: Callable[..., Service], origin: FaultOrigin
) -> None:
    source = apt_source()
    read(f"{source.uri}/dists/{source.suite}/Release")
    mirror: dict[str, object] = {"bucket": "mirrors___debian", "preset": "debian"}
    online = launch(origin_allowed_networks=addresses(source.uri))
    base = source.uri.removesuffix(urlsplit(source.uri).path)
    online.json("POST", "/mirrors/host", {**mirror, "mirror": APT_HOST, "origin": base})
    apt = Apt(tmp_path / "apt", source, online)
    first = apt.download()
    until(lambda: stored(online, APT_HOST, first[0]))
    assert online.stop() == 0

    # From here on every release file is due again, and whatever the mirror asks for is seen and answered 404.
    mirror["rules"] = [{"path": "InRelease", "mode": "revalidate", "ttl": 0}]
    offline = cut_off(launch, APT_HOST, mirror, origin)
    apt.use(offline)
    apt.forget()
    assert apt.download() == first
    asked = {request.target for request in origin.logged()}
    assert asked == {f"{apt.path}/dists/{source.suite}/InRelease"}
    assert stored(offline, APT_HOST, first[0])

    origin.stop_listening()
    apt.forget()
    assert apt.download() == first


# -- pip


@dataclass(frozen=True)
class PipIndex:
    """This machine's package index: the address without ``/simple``, where its files are, and its CA bundle."""

    base: str
    files_origin: str | None
    ca_file: str | None


def pip_index() -> PipIndex:
    """The index that pip would use here: its setting, or what is built into its code."""
    ca_file = pip_setting("cert") or None
    built_in = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    index = pip_setting("index-url") or run([sys.executable, "-c", built_in], plain_environment(), Path.cwd())
    base, simple, _ = index.strip().rstrip("/").partition("/simple")
    if not simple:
        unreachable("this machine's pip index is not at .../simple, which the preset expects")
    page_url = f"{base}/simple/{WHEEL}/"
    links = [urljoin(page_url, link) for link in re.findall(r'href="([^"#]+)', read(page_url, ca_file))]
    [files] = {link.partition("/packages/")[0] for link in links}
    return PipIndex(base, None if files == base else files, ca_file)


def pip_setting(name: str) -> str:
    """One setting of this machine's pip, the environment first, as pip has it."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        unreachable(f"there is no pip for {Path(sys.executable).name}: {listed.stderr}")
    found = dict(re.findall(r"^(\S+)='(.*)'$", listed.stdout, re.MULTILINE))
    return str(found.get(f":env:.{name}") or found.get(f"global.{name}") or "")


def pip_download(service: Service, folder: Path) -> tuple[str, bytes]:
    """Download a wheel with a real pip that has no cache: its name and bytes."""
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", WHEEL, "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--index-url", f"http://{PIP_HOST}/simple/", "--trusted-host", PIP_HOST, "--proxy", service.url]
    env = plain_environment() | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run([*command, "--retries", "0", "--dest", "."], env, folder)
    [wheel] = folder.glob("*.whl")
    return wheel.name, wheel.read_bytes()


def stored_packages(service: Service) -> list[str]:
    """The paths of the files that the mirror has stored."""
    listed = service.json("GET", "/ceph/mirrors/pypi/keys?prefix=packages/")["keys"]
    return [f"/{record['key']}" for record in listed if record["key"].endswith(".whl")]


def test_pip_downloads_again_without_its_index(
    tmp_path: Path, launch: Callable[..., Service], origin: FaultOrigin
) -> None:
    index = pip_index()
    networks = addresses(*filter(None, (index.base, index.files_origin)))
    settings = {"origin_ca_file": index.ca_file} if index.ca_file else {}
    mirror: dict[str, object] = {"bucket": "mirrors___pypi", "preset": "pypi", "files_origin": index.files_origin}
    online = launch(origin_allowed_networks=networks, **settings)
    online.json("POST", "/mirrors/host", {**mirror, "mirror": PIP_HOST, "origin": index.base})
    first = pip_download(online, tmp_path / "first")
    [wheel] = until(lambda: stored_packages(online))
    assert wheel.endswith(first[0])
    assert stored(online, PIP_HOST, wheel)
    assert online.stop() == 0

    # From here on the index page is due again, and whatever the mirror asks for is seen and answered 404.
    mirror |= {"files_origin": origin.url if index.files_origin else None, "rules": [{"path": "/simple/**", "ttl": 0}]}
    offline = cut_off(launch, PIP_HOST, mirror, origin)
    assert pip_download(offline, tmp_path / "second") == first
    asked = {request.target for request in origin.logged()}
    assert asked == {f"/simple/{WHEEL}/"}
    assert stored(offline, PIP_HOST, wheel)

    origin.stop_listening()
    assert pip_download(offline, tmp_path / "third") == first
    assert json.loads(offline.call("GET", "/readyz", token=None).body)["status"] == "ready"
