"""Calls about a mirror's copies: purge, verify, warm up, and the jobs that do it."""

from collections.abc import Callable, Sequence
from typing import Unpack, cast

from cephstorage_client.connection import Connection, given
from cephstorage_client.names import encode_segment
from cephstorage_client.shapes.background import Job
from cephstorage_client.shapes.mirrors import MirrorUsage, PurgeOptions, VerifyOptions, WarmOptions
from cephstorage_client.waiting import until_ended

_SLACK = 30.0


class CopyCalls(Connection):
    """Work on copies. Each call answers when the work is done, or after a moment (``wait``) while it goes on."""

    def purge(self, mirror: str, path: str | None = None, **options: Unpack[PurgeOptions]) -> Job:
        """Remove copies from the store and every edge: an address (path and query), or what the options select."""
        return self._work("/mirrors/purge", {**options, "mirror": mirror, "path": path})

    def verify(self, mirror: str, **options: Unpack[VerifyOptions]) -> Job:
        """Read and hash copies again, and bring anew what is damaged or missing (unless ``repair`` is False)."""
        return self._work("/mirrors/verify", {**options, "mirror": mirror})

    def warm(self, mirror: str, targets: Sequence[str] | None = None, **options: Unpack[WarmOptions]) -> Job:
        """Bring what a list, or an index named in the options, names."""
        listed = list(targets) if targets is not None else None
        return self._work("/mirrors/warm", {**options, "mirror": mirror, "targets": listed})

    def _work(self, path: str, body: dict[str, object]) -> Job:
        wait = body.get("wait")
        timeout = float(wait) + _SLACK if isinstance(wait, int | float) and wait > _SLACK else None
        return cast("Job", self._call("POST", path, json=given(body), timeout=timeout))

    def jobs(self, mirror: str) -> list[Job]:
        """A mirror's jobs, newest first."""
        return cast("list[Job]", self._call("GET", "/mirrors/jobs", params={"mirror": mirror})["jobs"])

    def job(self, job: str) -> Job:
        """How far a job is."""
        return cast("Job", self._call("GET", f"/mirrors/jobs/{encode_segment(job)}"))

    def cancel_job(self, job: str) -> None:
        """Cancel a job. What it has done stays done."""
        self._call("DELETE", f"/mirrors/jobs/{encode_segment(job)}")

    def mirror_usage(
        self, mirror: str, *, since: float | None = None, until: float | None = None, step: float | None = None
    ) -> MirrorUsage:
        """A mirror's requests, hits, bytes and errors; ``since`` below 0 counts back from now, in seconds."""
        params = {"since": since, "until": until, "step": step}
        return cast("MirrorUsage", self._call("GET", f"/mirrors/host/{encode_segment(mirror)}/usage", params=params))

    def wait_for_job(
        self,
        job: str,
        *,
        on_progress: Callable[[Job], None] | None = None,
        timeout: float | None = None,
        interval: float = 0.2,
        patience: float = 60.0,
    ) -> Job:
        """Poll until a job has ended; how it ended. Raises WaitTimeout after ``timeout`` seconds.

        A service that is away for less than ``patience`` seconds is waited for.
        """
        return until_ended(
            lambda: self.job(job),
            f"job {job}",
            on_progress=on_progress,
            timeout=timeout,
            interval=interval,
            longest_interval=interval,
            patience=patience,
        )
