"""Keys whose origin is left alone for a moment, because it has just failed to deliver them."""

from collections.abc import Callable

from cephstorage.domain.names import BucketName
from cephstorage.domain.origins import LONGEST_PATIENCE

_MOST = 10_000


class Cooling:
    """Until when, by key. What this process saw; others find out for themselves."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends: dict[tuple[BucketName, str], float] = {}

    def until(self, bucket: BucketName, key: str) -> float:
        """Until when the origin is left alone for this key; 0.0 when it is not."""
        return self._ends.get((bucket, key), 0.0)

    def cool(self, bucket: BucketName, key: str, seconds: float) -> None:
        """Leave the origin alone for this key, however much it asks for no longer than an origin as a whole."""
        now = self._clock()
        if len(self._ends) >= _MOST:
            self._ends = {name: end for name, end in self._ends.items() if end > now}
        self._ends[(bucket, key)] = now + min(seconds, LONGEST_PATIENCE)
