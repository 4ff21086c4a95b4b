"""Work that goes on for ever, round after round: what goes wrong in a round ends that round and nothing else."""

import contextlib
from collections.abc import Iterator

import structlog

from cephstorage.domain.errors import CephStorageError

log = structlog.get_logger()


class Rounds:
    """``failed`` and ``crashed`` are the events that the log tells: of what may happen, and of a defect."""

    def __init__(self, failed: str, crashed: str) -> None:
        self._failed = failed
        self._crashed = crashed
        self._said = ""

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Run a round in it. What fails again and again is said once, until a round goes well."""
        try:
            yield
        except CephStorageError as error:
            if error.msg != self._said:
                log.warning(self._failed, code=error.code, msg=error.msg)
            self._said = error.msg
        except Exception:
            log.exception(self._crashed)
        else:
            self._said = ""
