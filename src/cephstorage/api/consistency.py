"""Endpoints for whoever runs the service: whether index and store agree, and what does not."""

import base64
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import Administrator, ApiServices, Services
from cephstorage.api.models import Json, Text, number
from cephstorage.domain.errors import InvalidCursor, InvalidInput
from cephstorage.domain.findings import Finding, FindingKind, FindingQuery
from cephstorage.domain.names import BucketName, key_name
from cephstorage.domain.walks import NEVER, Walk, WalkKind

router = APIRouter(prefix="/monitor/consistency", tags=["operations"], route_class=BoundedRoute)


class CheckKey(BaseModel):
    """A key to be looked at now."""

    model_config = ConfigDict(extra="forbid")

    bucket: Text = Field(description="Full name", examples=["alice___photos"])
    key: Text = Field(examples=["pets/cat.jpg"])
    changed: bool = Field(
        False, description="Whether a client of the store has just changed it: then no grace is waited for"
    )


class BeginWalks(BaseModel):
    """Walks that are to begin now."""

    model_config = ConfigDict(extra="forbid")

    bucket: Text | None = Field(None, description="Full name; none: every bucket", examples=["alice___photos"])
    kind: WalkKind = Field(
        WalkKind.RECONCILE,
        description="reconcile; scrub: read and hash every byte; or deletions: see what other clients have deleted",
    )


@router.get("")
async def overview(
    _: Administrator, parts: Services, bucket: Annotated[Text | None, Query(description="Full name")] = None
) -> Json:
    """How far the walks are, what the last ones came to, and how many findings there are."""
    name = await _asked(bucket, parts)
    walks, events = await parts.walks.all(name), await parts.events.last_events(name)
    now = parts.clock()
    return {
        "findings": dict(await parts.consistency.findings.counts(name)),
        "walks": [_walk_json(walk, now) for walk in walks if not walk.concerns_nobody],
        "events": [{"bucket": each, "last_event_at": number(at)} for each, at in sorted(events.items())],
    }


@router.post("", status_code=202)
async def begin(body: BeginWalks, _: Administrator, parts: Services) -> Json:
    """Have walks begin now instead of at their time; a walk under way goes on."""
    bucket = BucketName.parse(body.bucket) if body.bucket is not None else None
    return {"begun": await parts.walks.ask(body.kind, bucket, parts.clock())}


@router.get("/findings")
async def findings(
    _: Administrator,
    parts: Services,
    bucket: Annotated[Text | None, Query(description="Full name")] = None,
    kind: FindingKind | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Text | None = None,
) -> Json:
    """What is not as it should be, key by key. A finding is gone when it is mended."""
    name = await _asked(bucket, parts)
    found = await parts.consistency.findings.listing(FindingQuery(name, kind, _after(cursor), limit))
    following = _cursor(found[-1]) if len(found) == limit else None
    return {"findings": [_finding_json(each) for each in found], "cursor": following}


@router.post("/check")
async def check(body: CheckKey, _: Administrator, parts: Services) -> Json:
    """Hold one key against the store, and mend, follow or note what does not agree."""
    bucket, key = BucketName.parse(body.bucket), key_name(body.key)
    await parts.buckets.get(bucket)
    checked = await parts.consistency.check(bucket, key, hinted=body.changed)
    finding = await parts.consistency.findings.get(bucket, key)
    known = await parts.consistency.index.known(bucket, [key])
    return {
        "bucket": str(bucket),
        "key": key,
        "present": known[key].record is not None,
        "verdict": checked.verdict.value,
        "action": checked.action or None,
        "finding": _finding_json(finding) if finding is not None else None,
    }


async def _asked(bucket: str | None, parts: ApiServices) -> BucketName | None:
    """The bucket of a question; one that there is not would seem to be well. Raises InvalidName, BucketNotFound."""
    if bucket is None:
        return None
    name = BucketName.parse(bucket)
    await parts.buckets.get(name)
    return name


def _walk_json(walk: Walk, now: float) -> dict[str, Any]:
    under_way = walk.begun_at is not None
    return {
        "bucket": str(walk.bucket),
        "kind": walk.kind.value,
        "state": "running" if walk.owner is not None else "waiting",
        "stage": walk.stage.value if under_way else None,
        "begun_at": number(walk.begun_at),
        "counts": dict(walk.counts) if under_way else None,
        "due_at": number(walk.due_at) if walk.owner is None and walk.due_at < NEVER else None,
        "last_begun_at": number(walk.last_begun_at),
        "last_ended_at": number(walk.last_ended_at),
        "age": round(now - walk.last_begun_at, 1) if walk.last_begun_at is not None else None,
        "last_counts": dict(walk.last_counts) if walk.last_ended_at is not None else None,
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "bucket": str(finding.bucket),
        "key": finding.key,
        "kind": finding.kind.value,
        "code": finding.code,
        "done": finding.done.value,
        "msg": finding.detail,
        "since": number(finding.since),
        "seen_at": number(finding.seen_at),
    }


def _cursor(last: Finding) -> str:
    return base64.urlsafe_b64encode(json.dumps([str(last.bucket), last.key]).encode()).decode()


def _after(cursor: str | None) -> tuple[str, str]:
    if cursor is None:
        return ("", "")
    try:
        bucket, key = json.loads(base64.b64decode(cursor.encode(), b"-_", validate=True))
        return str(BucketName.parse(bucket)), key_name(key)
    except (ValueError, TypeError, AttributeError, RecursionError, InvalidInput) as error:
        raise InvalidCursor("The cursor was not made by this service.") from error
