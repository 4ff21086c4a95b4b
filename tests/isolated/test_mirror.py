"""The same through the whole service: a mirror's origin that redirects to where nobody may go."""

import pytest

from tests.e2e.mirror.site import Site, problem_code
from tests.isolated.addresses import FORBIDDEN


@pytest.mark.parametrize("location", FORBIDDEN)
@pytest.mark.parametrize("mode", ["permanent", "bypass"])
def test_a_redirect_to_a_forbidden_address_is_refused(site: Site, location: str, mode: str) -> None:
    site.order(mode=mode)
    site.put("/a", redirect=location)
    answer = site.get("/a")
    assert (answer.status, problem_code(answer)) == (502, "forbidden_address")
    assert site.settled("/a")["record"] is None


@pytest.mark.parametrize("address", ["http://169.254.169.254", "http://[::ffff:169.254.169.254]", "http://10.0.0.1"])
def test_an_origin_that_fails_leads_to_no_forbidden_one(site: Site, address: str) -> None:
    """Another origin of the mirror is an address like any other; a copy that is stored beats it."""
    site.order(mode="revalidate", ttl=0)
    site.fill("/kept", b"kept")
    wish = {"mirror": site.host, "bucket": site.bucket, "mode": "revalidate", "ttl": 0}
    origins = [{"url": site.origin.url + site.prefix}, {"url": address}]
    site.service.json("POST", "/mirrors/host", {**wish, "origins": origins})
    for path in ("/a", "/kept"):
        site.put(path, raw=b"nonsense\r\n\r\n")
    assert site.get("/a").status == 502
    assert site.settled("/a")["record"] is None
    assert site.get("/kept").body == b"kept"
