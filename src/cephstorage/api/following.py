"""Endpoints of followed buckets: where events arrive, and how they are set up."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from cephstorage.api.bodies import BoundedRoute, bounded_body
from cephstorage.api.context import Administrator, Services
from cephstorage.api.models import Json, Text, number
from cephstorage.domain.configuration import read_address
from cephstorage.domain.errors import InvalidUrl
from cephstorage.domain.events import LARGEST_BODY, PATH
from cephstorage.domain.names import BucketName, decode_target
from cephstorage.services.events import Followed

events_router = APIRouter(tags=["events"])
router = APIRouter(prefix="/ceph", tags=["events"], route_class=BoundedRoute)


class Follow(BaseModel):
    """How a bucket is to be followed."""

    model_config = ConfigDict(extra="forbid")

    endpoint: Text | None = Field(
        None,
        description="This service's address as the store reaches it; default: its public address",
        examples=["http://cephstorage.example.org:8080"],
    )
    removals: bool | None = Field(
        None,
        description="The store tells of deletions, too; default: where its release does it well. With RGW 16.2 a client's DeleteObjects then ends the gateway",
    )
    persistent: bool | None = Field(None, description="The store keeps events that could not be delivered")


@events_router.post(PATH + "/{bucket}/{token}", include_in_schema=False)  # the store's own way in, no caller's
async def take_events(bucket: str, token: str, request: Request, parts: Services) -> Json:
    """Events of a followed bucket, from the store itself: answered when their keys have been looked at."""
    name = BucketName.parse(decode_target(bucket.encode("latin-1")))
    await parts.events.admit(name, token)
    seen = await parts.events.take(name, await bounded_body(request, LARGEST_BODY))
    return {"checked": seen.checked, "known": seen.known, "strange": seen.strange}


@router.put("/{username}/{bucketname}/following")
async def follow(username: str, bucketname: str, body: Follow, _: Administrator, parts: Services) -> Json:
    """Have the store tell of what its own clients write (and delete) in a bucket."""
    try:
        base = read_address(body.endpoint or parts.publishing.public_address, path=True)
    except ValueError as error:
        raise InvalidUrl(f"endpoint: {error}.") from error
    bucket = BucketName(username, bucketname)
    found = await parts.events.follow(bucket, base, removals=body.removals, persistent=body.persistent)
    return _shown(bucket, found, parts.clock())


@router.get("/{username}/{bucketname}/following")
async def get_following(username: str, bucketname: str, _: Administrator, parts: Services) -> Json:
    """Whether a bucket is followed, and when an event last came."""
    bucket = BucketName(username, bucketname)
    return _shown(bucket, await parts.events.followed(bucket), parts.clock())


@router.delete("/{username}/{bucketname}/following")
async def unfollow(username: str, bucketname: str, _: Administrator, parts: Services) -> Json:
    """Have the store tell no more."""
    await parts.events.unfollow(BucketName(username, bucketname))
    return {"msg": "bucket_unfollowed"}


class Probe(BaseModel):
    """A trial."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(10.0, gt=0, le=60, description="How long to wait for the event")


@router.post("/{username}/{bucketname}/following/check")
async def check_following(username: str, bucketname: str, body: Probe, _: Administrator, parts: Services) -> Json:
    """Write an object into the bucket as another client would, see whether its event comes, and remove it."""
    seconds = await parts.events.probe(BucketName(username, bucketname), body.seconds)
    return {"arrived": seconds is not None, "seconds": round(seconds, 3) if seconds is not None else None}


def _shown(bucket: BucketName, found: Followed, now: float) -> dict[str, Any]:
    following, last = found.following, found.last_event_at
    return {
        "bucket": str(bucket),
        "following": following is not None,
        "endpoint": following.endpoint if following is not None else None,
        "removals": following.removals if following is not None else None,
        "persistent": following.persistent if following is not None else None,
        "last_event_at": number(last),
        "last_event_age": round(now - last, 1) if last is not None else None,
    }
