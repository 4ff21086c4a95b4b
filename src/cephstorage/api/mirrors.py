"""Endpoints of mirrors. Their traffic is the data plane's."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import Administrator, Caller, Services
from cephstorage.api.mirror_models import CreateMirror, SignMirrorUrl, mirror_json, use_json
from cephstorage.api.models import Json
from cephstorage.domain.access import Action
from cephstorage.domain.errors import InvalidMirror
from cephstorage.domain.urls import check_url, without_credentials
from cephstorage.domain.usage import period

router = APIRouter(tags=["mirrors"], route_class=BoundedRoute)


@router.post("/mirrors/host", status_code=201)
async def put_mirror(body: CreateMirror, _: Administrator, parts: Services) -> Json:
    """Create or replace a mirror."""
    return mirror_json(await parts.mirrors.put(body.order()))


@router.get("/mirrors/host")
async def list_mirrors(_: Administrator, parts: Services, bucket_name: str | None = None) -> Json:
    """All mirrors, or those of one bucket."""
    return {"mirrors": [mirror_json(mirror) for mirror in parts.mirrors.all(bucket_name)]}


@router.delete("/mirrors/host")
async def delete_mirror(mirror_host: Annotated[str, Query(min_length=1)], _: Administrator, parts: Services) -> Json:
    """Delete a mirror; the keys it brought stay."""
    await parts.mirrors.delete(mirror_host)
    return {"msg": "mirror_deleted"}


@router.get("/mirrors/host/{host}/usage")
async def usage(
    host: str,
    principal: Caller,
    parts: Services,
    since: Annotated[float | None, Query(description="Epoch seconds; below 0: so long ago")] = None,
    until: Annotated[float | None, Query(description="Epoch seconds; default: now")] = None,
    step: Annotated[float | None, Query(description="Seconds between two points of the series")] = None,
) -> Json:
    """Requests, hits, bytes and errors of a mirror, of every process and edge; the last hour unless said otherwise."""
    mirror = parts.mirrors.require(host)
    principal.require(Action.READ, mirror.bucket.username)
    return use_json(mirror.host, await parts.usage.of(mirror.host, period(since, until, step, parts.clock())))


@router.post("/mirrors/sign")
async def sign(body: SignMirrorUrl, principal: Caller, parts: Services) -> Json:
    """An address of a private mirror that anybody can read until it expires, or until the signing key is rotated."""
    address = without_credentials(check_url(body.url))
    mirror = parts.mirrors.require(urlsplit(address).netloc)
    principal.require(Action.READ, mirror.bucket.username)
    if not mirror.private:
        raise InvalidMirror(f"Everybody may read {mirror.host}: its addresses need no signature.")
    url, expires = parts.publishing.mirror_url(address, mirror.host, body.expires_in)
    return {"url": url, "expires": expires}


@router.get("/mirrors/explain")
@router.get("/explain")
async def explain(
    url: Annotated[str, Query(min_length=1)],
    _: Administrator,
    parts: Services,
    ask: Annotated[bool, Query(description="Ask the origin, too (HEAD)")] = False,
) -> Json:
    """What the mirror would do with a GET of this URL now, and why, from the edges to the origin."""
    return await parts.explain(url, ask=ask)
