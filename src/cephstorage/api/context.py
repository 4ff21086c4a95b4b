"""What every endpoint shares: the services, the caller, and the names in the raw path.

All of it is ``async`` although nothing waits: the framework would run plain functions in threads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from cephstorage.domain.access import Action, Principal
from cephstorage.domain.errors import InvalidKey
from cephstorage.domain.names import BucketName, decode_target, key_name, tenant_name
from cephstorage.ports.consistency import WalkTable
from cephstorage.services.access import Access
from cephstorage.services.buckets import Buckets
from cephstorage.services.configuration import Configuration
from cephstorage.services.consistency import Consistency
from cephstorage.services.deletions import Deletions
from cephstorage.services.events import Events
from cephstorage.services.jobs import Jobs
from cephstorage.services.key_copies import KeyCopies
from cephstorage.services.keys import Keys
from cephstorage.services.lifecycles import Lifecycles
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.monitoring import Monitoring
from cephstorage.services.publishing import Publishing
from cephstorage.services.purges import Purges
from cephstorage.services.quotas import Quotas
from cephstorage.services.trash import Trash
from cephstorage.services.usage import Usage
from cephstorage.services.webhooks import Webhooks


class Explanations(Protocol):
    """Says what a mirror would do with a GET of a URL now, and why."""

    async def __call__(self, url: str, *, ask: bool = False) -> dict[str, Any]:
        """``ask``: what the origin answers to a HEAD, too. Raises InvalidUrl, MirrorNotFound, InvalidKey."""
        ...


@dataclass(frozen=True, slots=True)
class ApiServices:
    """Everything the API calls. ``explain`` answers what the mirror would do with a URL now.

    ``settings`` are all of them as they are in force, without secrets.
    """

    keys: Keys
    copies: KeyCopies
    lifecycles: Lifecycles
    trash: Trash
    buckets: Buckets
    quotas: Quotas
    mirrors: Mirrors
    purges: Purges
    deletions: Deletions
    consistency: Consistency
    events: Events
    walks: WalkTable
    jobs: Jobs
    webhooks: Webhooks
    usage: Usage
    access: Access
    publishing: Publishing
    monitoring: Monitoring
    explain: Explanations
    configuration: Configuration
    settings: Callable[[], dict[str, Any]]
    clock: Callable[[], float]


async def services(request: Request) -> ApiServices:
    """The services of the application."""
    found: ApiServices = request.app.state.services
    return found


Services = Annotated[ApiServices, Depends(services)]


async def caller(
    request: Request, parts: Services, _: Annotated[object, Depends(HTTPBearer(auto_error=False))]
) -> Principal:
    """The authenticated caller. Raises Unauthenticated."""
    return await parts.access.authenticate(request.headers.get("authorization"))


Caller = Annotated[Principal, Depends(caller)]


async def administrator(principal: Caller) -> Principal:
    """A caller who may run the service."""
    principal.require(Action.ADMINISTER)
    return principal


Administrator = Annotated[Principal, Depends(administrator)]


async def well_formed_query(request: Request) -> None:
    """Refuse query strings that are not UTF-8 before anything reads them."""
    raw = request.scope["query_string"].replace(b"+", b"%20")
    try:
        decode_target(raw)
    except InvalidKey as error:
        raise InvalidKey(f"The query string can't be read: {error.msg}") from error


async def read_bucket(username: str, bucketname: str, principal: Caller) -> BucketName:
    """The bucket in the path, for reading."""
    return _bucket(username, bucketname, principal, Action.READ)


async def write_bucket(username: str, bucketname: str, principal: Caller) -> BucketName:
    """The bucket in the path, for writing."""
    return _bucket(username, bucketname, principal, Action.WRITE)


def _bucket(username: str, bucketname: str, principal: Principal, action: Action) -> BucketName:
    name = BucketName(username, bucketname)
    principal.require(action, name.username)
    return name


async def tenant(username: str, principal: Caller) -> str:
    """The tenant in the path, for reading."""
    principal.require(Action.READ, tenant_name(username))
    return username


async def named_key(key: str) -> str:
    """The key in the raw path, decoded exactly once (the router works on the undecoded target)."""
    return key_name(decode_target(key.encode("latin-1")))


ReadBucket = Annotated[BucketName, Depends(read_bucket)]
WriteBucket = Annotated[BucketName, Depends(write_bucket)]
Tenant = Annotated[str, Depends(tenant)]
Key = Annotated[str, Depends(named_key)]
