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
