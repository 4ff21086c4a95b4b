"""Endpoints of buckets and of transfers' progress."""

from fastapi import APIRouter, Response

from cephstorage.api.context import Caller, ReadBucket, Services, Tenant, WriteBucket
from cephstorage.api.models import Json, bucket_json, quota_json, transfer_json
from cephstorage.domain.access import Action, Principal
from cephstorage.domain.errors import AccessDenied, TenantNotFound, TransferNotFound
from cephstorage.domain.transfers import Transfer

progress_router = APIRouter(prefix="/ceph/progress", tags=["progress"])
router = APIRouter(prefix="/ceph", tags=["buckets"])


async def _visible(parts: Services, principal: Principal, token: str, action: Action) -> Transfer:
    """The transfer, for those who may know of it: to others it does not exist."""
    transfer = await parts.keys.progress(token)
    username = transfer.request.bucket.username
    if not principal.may(Action.READ, username):
        raise TransferNotFound("No transfer has this token.")
    if not principal.may(action, username):
        raise AccessDenied("This token may only read.")
    return transfer


@progress_router.get("/{token}")
async def get_progress(token: str, principal: Caller, parts: Services) -> Json:
    """How a creation is getting on."""
    return transfer_json(await _visible(parts, principal, token, Action.READ))


@progress_router.delete("/{token}")
async def cancel_transfer(token: str, principal: Caller, parts: Services) -> Json:
    """Cancel a creation that has not ended."""
    await _visible(parts, principal, token, Action.WRITE)
    await parts.keys.cancel(token)
    return {"msg": "transfer_cancelled"}


@router.get("/{username}")
async def list_buckets(username: Tenant, parts: Services) -> Json:
    """A tenant's buckets; the tenant's usage and quota, once it has had a bucket."""
    shown = [bucket_json(bucket) for bucket in await parts.buckets.of_tenant(username)]
    try:
        account = await parts.quotas.of_tenant(username)
    except TenantNotFound:
        return {"username": username, "buckets": shown}
    usage = {"size": account.used.size, "keyamount": account.used.keys, "quota": quota_json(account.quota)}
    return {"username": username, "buckets": shown, **usage}


@router.put("/{username}/{bucketname}", status_code=201, responses={200: {"description": "It was there"}})
async def create_bucket(bucket: WriteBucket, parts: Services, response: Response) -> Json:
    """Create a bucket (and its tenant); 200 when it was there."""
    if await parts.buckets.create(bucket):
        await parts.quotas.made(bucket)
    else:
        response.status_code = 200
    return bucket_json(await parts.buckets.get(bucket))


@router.get("/{username}/{bucketname}")
async def get_bucket(bucket: ReadBucket, parts: Services) -> Json:
    """A bucket and its usage."""
    return bucket_json(await parts.buckets.get(bucket))


@router.delete("/{username}/{bucketname}")
async def delete_bucket(bucket: WriteBucket, parts: Services) -> Json:
    """Delete an empty bucket."""
    await parts.buckets.delete(bucket)
    return {"msg": "bucket_deleted"}
