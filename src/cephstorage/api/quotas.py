"""Endpoints of quotas: seen by tenants, set by whoever runs the service."""

from fastapi import APIRouter

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import Administrator, ReadBucket, Services, Tenant
from cephstorage.api.models import Json, SetQuota, account_json
from cephstorage.domain.names import BucketName
from cephstorage.services.quotas import Bound

router = APIRouter(prefix="/quotas", tags=["quotas"], route_class=BoundedRoute)


def _bound_json(bound: Bound) -> Json:
    return {**account_json(bound.account), **({"backstop": bound.backstop} if bound.backstop else {})}


@router.get("")
async def list_quotas(_: Administrator, parts: Services) -> Json:
    """Tenants and buckets that have a quota, at most 1,000 of each, with what is stored and reserved."""
    return {"quotas": [account_json(account) for account in await parts.quotas.all()]}


@router.get("/{username}")
async def get_tenant_quota(username: Tenant, parts: Services) -> Json:
    """A tenant's quota over all its buckets, and what is stored and reserved."""
    return account_json(await parts.quotas.of_tenant(username))


@router.put("/{username}")
async def set_tenant_quota(username: str, body: SetQuota, _: Administrator, parts: Services) -> Json:
    """Bound all buckets of a tenant together. Nothing is deleted: above a limit, what adds something is refused."""
    return _bound_json(await parts.quotas.set_tenant(username, body.quota()))


@router.get("/{username}/{bucketname}")
async def get_bucket_quota(bucket: ReadBucket, parts: Services) -> Json:
    """A bucket's own quota, and what is stored and reserved."""
    return account_json(await parts.quotas.of_bucket(bucket))


@router.put("/{username}/{bucketname}")
async def set_bucket_quota(username: str, bucketname: str, body: SetQuota, _: Administrator, parts: Services) -> Json:
    """Bound a bucket. Nothing is deleted: above a limit, what adds something is refused."""
    return _bound_json(await parts.quotas.set_bucket(BucketName(username, bucketname), body.quota()))
