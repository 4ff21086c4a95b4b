"""Jobs outlive their processes: killed at any step they go on, do everything, and have counted exactly what they did."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.e2e.mirror.test_copies import ended, upload, usage
from tests.harness.aftermath import examine
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # they kill the one process that there is

STEP = "cephstorage.index.jobs:SqlJobTable.step"
COPIES = 250


@pytest.fixture
def deadly(launch: Callable[..., Service], tmp_path: Path) -> Callable[[str], tuple[Service, Path]]:
    """A service that dies at a point once a file is there."""

    def start(point: str) -> tuple[Service, Path]:
        armed = tmp_path / "armed"
        service = launch(crash_at=point, crash_armed=str(armed))
        service.stop()
        service.module = "tests.harness.crashing"
        return service.start(), armed

    return start


def killed(service: Service, armed: Path, begin: Callable[[], Any]) -> None:
    """Have the service die within a job, and start it again without the wish to die."""
    armed.touch()
    with pytest.raises((OSError, AssertionError)):
        begin()
    service.wait()
    armed.unlink()
    service.start()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_purge_that_is_killed_goes_on(
    deadly: Callable[[str], tuple[Service, Path]], origin: FaultOrigin, when: str
) -> None:
    service, armed = deadly(f"{STEP}/{when}")
    site = Site(service, origin, "mirror")
    site.order()
    paths = [f"/{number:03}" for number in range(COPIES)]
    for path in paths:
        site.put(path, b"12345")
    for start in range(0, COPIES, 50):
        site.get_all(paths[start : start + 50])
    until(site.keys, lambda keys: len(keys) == COPIES)
    upload(site, "!own", b"not a copy")
    killed(service, armed, lambda: service.json("POST", "/mirrors/purge", {"mirror": site.host, "all": True}))
    (job,) = service.json("GET", f"/mirrors/jobs?mirror={site.host}")["jobs"]
    done = ended(site, job)
    assert done["state"] == "success"
    assert done["counts"] == {"seen": COPIES + 1, "removed": COPIES, "bytes": 5 * COPIES}
    assert (site.keys(), usage(site)) == (["!own"], (10, 1))
    assert service.stop() == 0
    assert examine(service.data_dir, site.bucket).drift == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_warm_up_that_is_killed_goes_on(
    deadly: Callable[[str], tuple[Service, Path]], origin: FaultOrigin, when: str
) -> None:
    service, armed = deadly(f"{STEP}/{when}")
    site = Site(service, origin, "mirror")
    site.order()
    paths = [f"/{number}" for number in range(20)]
    for path in paths:
        site.put(path, b"12345")
    wish = {"mirror": site.host, "targets": paths}
    killed(service, armed, lambda: service.json("POST", "/mirrors/warm", wish))
    (job,) = service.json("GET", f"/mirrors/jobs?mirror={site.host}")["jobs"]
    counts = ended(site, job)["counts"]
    assert (counts["total"], counts["done"]) == (20, 20)
    assert counts["fetched"] + counts.get("stored", 0) == 20
    assert len(site.keys()) == 20
    asked = [site.count(path) for path in paths]  # what was under way at the kill, four at a time, is asked for again
    assert set(asked) <= {1, 2}
    assert sum(asked) <= 24


def test_another_process_goes_on_with_what_a_stopped_one_left(
    launch: Callable[..., Service], origin: FaultOrigin
) -> None:
    service = launch()
    site = Site(service, origin, "mirror")
    site.order()
    for number in range(30):
        site.put(f"/{number}", b"12345")
    wish = {"mirror": site.host, "targets": [f"/{number}" for number in range(30)], "rate": 10, "wait": 0}
    job = service.json("POST", "/mirrors/warm", wish)
    until(lambda: service.json("GET", f"/mirrors/jobs/{job['job']}")["counts"].get("done"))
    assert service.stop() == 0
    service.start()
    assert ended(site, job)["counts"]["done"] == 30
    assert len(site.keys()) == 30
