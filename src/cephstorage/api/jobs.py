"""Endpoints of work on a mirror's copies: purge, verify, warm up, and how far that is.

200 when the work is done, 202 while it goes on: then ``job`` names it.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import ApiServices, Caller, Services
from cephstorage.api.models import Json, Text
from cephstorage.domain.access import Action, Principal
from cephstorage.domain.errors import InvalidInput
from cephstorage.domain.jobs import Item, ItemKind, Job, JobKind, JobRequest, Selection, selection
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.transfers import State
from cephstorage.services.jobs import PATIENCE
from cephstorage.services.purges import EdgeReport
from cephstorage.services.warming import listed, target_of

router = APIRouter(tags=["mirrors"], route_class=BoundedRoute)

Concurrency = Annotated[int, Field(ge=1, le=64, description="Requests to the origin at a time")]
Rate = Annotated[float | None, Field(gt=0, le=1e6, description="Requests to the origin a second, at most")]
Wait = Annotated[float, Field(ge=0, le=60, description="Seconds to wait for the end before the answer")]


class MirrorWork(BaseModel):
    """Work on the copies of a mirror."""

    model_config = ConfigDict(extra="forbid")

    mirror: Text = Field(description="Host name of the mirror", examples=["mirror.example.org"])
    concurrency: Concurrency = 4
    rate: Rate = None
    wait: Wait = PATIENCE


class SelectedWork(MirrorWork):
    """Work on some of them. What tenants have uploaded into the same bucket is never touched."""

    key: Text | None = Field(None, description="One key", examples=["debian/dists/stable/InRelease"])
    prefix: Text | None = Field(None, description="All keys that begin so", examples=["debian/dists/"])
    content_type: Text | None = Field(None, description="Only this type; TYPE/* for all of a kind")
    older_than: float | None = Field(None, description="Only what was stored more than so many seconds ago")

    def chosen(self, now: float) -> Selection:
        """What is meant. Raises InvalidInput, InvalidKey."""
        return selection(self.key, self.prefix, self.content_type, self.older_than, now)


class PurgeCopies(SelectedWork):
    """Copies to be removed, from the store and from every edge; or less than that."""

    path: Text | None = Field(
        None, description="One address: path and query as in a request", examples=["/debian/dists/stable/InRelease"]
    )
    all: bool = Field(False, description="Every copy of the mirror; has to be said when nothing narrows it down")
    edges_only: bool = Field(False, description="The stored copies stay; only the edges forget them")
    soft: bool = Field(False, description="The copies stay and are asked for at the origin before they are used again")
    refresh: bool = Field(False, description="The copies are asked for at the origin now")

    def kind(self) -> JobKind:
        """What is done with the copies. Raises InvalidInput."""
        chosen = [
            kind
            for kind, wished in (
                (JobKind.EDGES, self.edges_only),
                (JobKind.SOFT, self.soft),
                (JobKind.REFRESH, self.refresh),
            )
            if wished
        ]
        if len(chosen) > 1:
            raise InvalidInput("edges_only, soft and refresh exclude each other.")
        narrowed = (self.path, self.key, self.prefix, self.content_type, self.older_than)
        if self.all == any(value is not None for value in narrowed):
            raise InvalidInput("Say what is meant: path, key, prefix, content_type, older_than; or all for everything.")
        if self.path is not None and any(value is not None for value in narrowed[1:]):
            raise InvalidInput("A path names one address; nothing else goes with it.")
        return chosen[0] if chosen else JobKind.PURGE


class VerifyCopies(SelectedWork):
    """Copies to be read and hashed again."""

    repair: bool = Field(True, description="Remove what is damaged or missing, and fetch it again")
    byte_rate: float | None = Field(None, gt=0, le=1e12, description="Bytes read from the store a second, at most")


class WarmMirror(MirrorWork):
    """What a mirror shall have before anybody asks for it: one of targets, sitemap, packages, folder."""

    targets: list[Text] | None = Field(None, description="URLs or paths")
    sitemap: Text | None = Field(None, description="URL or path of a sitemap or an index of sitemaps")
    packages: Text | None = Field(None, description="URL or path of a Debian Packages index, .gz and .xz too")
    folder: Text | None = Field(None, description="URL or path of a folder whose page lists what it holds")
    depth: int = Field(8, ge=0, le=64, description="Levels of folders or sitemaps below the first")
    most: int = Field(100_000, ge=1, le=1_000_000, description="Objects and indexes in all")

    def items(self, mirror: Mirror) -> tuple[Item, ...]:
        """What the list begins with. Raises InvalidInput."""
        indexes = {
            ItemKind.SITEMAP: self.sitemap,
            ItemKind.PACKAGES: self.packages,
            ItemKind.FOLDER: self.folder,
        }
        given = [(kind, url) for kind, url in indexes.items() if url is not None]
        if len(given) + (self.targets is not None) != 1:
            raise InvalidInput("Give one of targets, sitemap, packages and folder.")
        if self.targets is not None:
            items = listed(mirror, self.targets)
            if len(items) > self.most:
                raise InvalidInput(f"The list has {len(items)} items; at most {self.most} are taken (most).")
            return items
        ((kind, url),) = given
        target = target_of(mirror, url)
        if kind is ItemKind.FOLDER and not target.partition("?")[0].endswith("/"):
            raise InvalidInput("The address of a folder ends with '/'.")
        return (Item(kind, target, self.depth),)


def job_json(job: Job, edges: tuple[EdgeReport, ...]) -> Json:
    """A job: what it is, how far it is, and which edges know."""
    chosen = job.request.selection
    return {
        "job": job.id,
        "kind": job.request.kind.value,
        "mirror": job.request.mirror,
        "bucket": str(job.request.bucket),
        "key": chosen.key,
        "prefix": chosen.prefix or None,
        "content_type": chosen.content_type,
        "stored_before": chosen.stored_before,
        "state": job.state.value,
        "counts": dict(job.counts),
        "errors": [{"what": error.what, "code": error.code, "msg": error.msg} for error in job.errors],
        "error": {"code": job.error_code, "msg": job.error_msg} if job.error_code else None,
        "edges": [
            {"edge": each.edge, "told": each.told, "pending": each.pending, "unreachable": each.unreachable}
            for each in edges
        ],
        "created": job.created_at,
        "updated": job.updated_at,
        "ended": job.ended_at,
    }


def _mirror(host: str, principal: Principal, parts: ApiServices, action: Action) -> Mirror:
    mirror = parts.mirrors.require(host)
    principal.require(action, mirror.bucket.username)
    return mirror


async def _answer(job: Job, parts: ApiServices, more: Json) -> JSONResponse:
    shown = {**more, **job_json(job, await parts.purges.report(job))}
    return JSONResponse(shown, status_code=202 if job.state is State.INPROGRESS else 200)


_STATES: dict[int | str, dict[str, Any]] = {202: {"description": "It goes on; see GET /mirrors/jobs/{job}"}}


@router.post("/mirrors/purge", responses=_STATES)
async def purge(body: PurgeCopies, principal: Caller, parts: Services) -> JSONResponse:
    """Remove copies from the store and from every edge: the next request fetches anew.

    ``soft`` and ``refresh`` keep a copy for when the origin fails (in mode ``origin`` it waits for the origin's word). With a ``path``, ``told`` are the edges that have
    forgotten that address, ``later`` those that did not answer and are told when they do.
    """
    mirror = _mirror(body.mirror, principal, parts, Action.WRITE)
    kind = body.kind()
    chosen = body.chosen(parts.clock())
    more: Json = {"msg": "mirror_purged"}
    if body.path is not None:
        chosen = Selection(key=parts.purges.key_of(mirror, body.path))
    request = JobRequest(kind, mirror.host, mirror.bucket, chosen, body.concurrency, body.rate)
    job = await parts.jobs.begin(request, patience=body.wait)
    if body.path is not None:
        purged = await parts.purges.ask(mirror, body.path)
        more |= {"path": purged.target, "told": list(purged.told.edges), "later": list(purged.told.later)}
    return await _answer(job, parts, more)


@router.post("/mirrors/verify", responses=_STATES)
async def verify(body: VerifyCopies, principal: Caller, parts: Services) -> JSONResponse:
    """Read and hash copies again; what is damaged or missing is removed and fetched again, unless ``repair`` is false."""
    mirror = _mirror(body.mirror, principal, parts, Action.WRITE)
    request = JobRequest(
        JobKind.VERIFY,
        mirror.host,
        mirror.bucket,
        body.chosen(parts.clock()),
        body.concurrency,
        body.rate,
        body.byte_rate,
        body.repair,
    )
    return await _answer(await parts.jobs.begin(request, patience=body.wait), parts, {})


@router.post("/mirrors/warm", responses=_STATES)
async def warm(body: WarmMirror, principal: Caller, parts: Services) -> JSONResponse:
    """Fetch what a list, a sitemap, a Packages index or a folder names, as clients would."""
    mirror = _mirror(body.mirror, principal, parts, Action.WRITE)
    request = JobRequest(
        JobKind.WARM,
        mirror.host,
        mirror.bucket,
        concurrency=body.concurrency,
        rate=body.rate,
        depth=body.depth,
        most=body.most,
    )
    return await _answer(await parts.jobs.begin(request, body.items(mirror), body.wait), parts, {})


@router.get("/mirrors/jobs")
async def list_jobs(mirror: Annotated[str, Query(min_length=1)], principal: Caller, parts: Services) -> Json:
    """A mirror's jobs, newest first."""
    found = await parts.jobs.of_mirror(_mirror(mirror, principal, parts, Action.READ).host)
    return {"jobs": [job_json(job, ()) for job in found]}


@router.get("/mirrors/jobs/{job}")
async def show_job(job: str, principal: Caller, parts: Services) -> Json:
    """How far a job is, and which edges have been told of what it changed."""
    found = await parts.jobs.get(job)
    principal.require(Action.READ, found.request.bucket.username)
    return job_json(found, await parts.purges.report(found))


@router.delete("/mirrors/jobs/{job}")
async def cancel_job(job: str, principal: Caller, parts: Services) -> Json:
    """Cancel a job. What it has done stays done."""
    principal.require(Action.WRITE, (await parts.jobs.get(job)).request.bucket.username)
    await parts.jobs.cancel(job)
    return {"job": job, "msg": "job_cancelled"}
