"""How long an origin is left alone for a key."""

from cephstorage.domain.origins import LONGEST_PATIENCE
from cephstorage.transfer.cooling import Cooling
from tests.unit.transfer.conftest import BUCKET


def test_an_origin_is_left_alone_for_as_long_as_it_wants_within_reason() -> None:
    """A Retry-After of years, once, must not keep a stale copy for ever."""
    cooling = Cooling(lambda: 1000.0)
    cooling.cool(BUCKET, "a", 60.0)
    cooling.cool(BUCKET, "b", 9_999_999_999.0)
    assert cooling.until(BUCKET, "a") == 1060.0
    assert cooling.until(BUCKET, "b") == 1000.0 + LONGEST_PATIENCE
    assert cooling.until(BUCKET, "c") == 0.0
