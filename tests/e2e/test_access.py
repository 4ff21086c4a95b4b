"""Every route of the API refuses who may not use it. The routes come from the service: a new one is tested by itself."""

import inspect
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from cephstorage.api.app import build_api
from cephstorage.domain.events import PATH as EVENTS
from tests.harness.behaviour import Gate
from tests.harness.bucket import Bucket
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Reply, Service

PUBLIC = {("GET", "/healthz"), ("GET", "/readyz")}
"""Operations that anybody may call."""
PUBLIC_DOCUMENTS = {"/docs", "/docs/assets", "/openapi.json"}
"""Routes that stand in no schema and show nothing but the schema."""
STORES_OWN = {f"{EVENTS}/{{bucket}}/{{token}}"}
"""Where the store tells of events: nobody's who has no token of the bucket's."""
OWN_READS = {
    ("GET", "/ceph/progress/{token}"),
    ("GET", "/ceph/{username}"),
    ("GET", "/ceph/{username}/{bucketname}"),
    ("GET", "/ceph/{username}/{bucketname}/keys"),
    ("GET", "/ceph/{username}/{bucketname}/keys/{key}"),
    ("HEAD", "/ceph/{username}/{bucketname}/keys/{key}"),
    ("GET", "/ceph/{username}/{bucketname}/folders"),
    ("GET", "/ceph/{username}/{bucketname}/export"),
    ("GET", "/ceph/{username}/{bucketname}/deletions"),
    ("GET", "/ceph/{username}/{bucketname}/deletions/{name}"),
    ("GET", "/ceph/{username}/{bucketname}/lifecycle"),
    ("GET", "/ceph/{username}/{bucketname}/trash"),
    ("GET", "/quotas/{username}"),
    ("GET", "/quotas/{username}/{bucketname}"),
    ("POST", "/mirrors/sign"),
    ("GET", "/mirrors/jobs"),
    ("GET", "/mirrors/host/{host}/usage"),
    ("GET", "/mirrors/jobs/{job}"),
}
"""What a read-only token of the tenant may do."""
OWN_WRITES = {
    ("DELETE", "/ceph/progress/{token}"),
    ("PUT", "/ceph/{username}/{bucketname}"),
    ("DELETE", "/ceph/{username}/{bucketname}"),
    ("POST", "/ceph/{username}/{bucketname}/keys"),
    ("POST", "/ceph/{username}/{bucketname}/keys/{key}"),
    ("PUT", "/ceph/{username}/{bucketname}/keys/{key}"),
    ("DELETE", "/ceph/{username}/{bucketname}/keys/{key}"),
    ("POST", "/ceph/{username}/{bucketname}/import"),
    ("POST", "/ceph/{username}/{bucketname}/deletions"),
    ("DELETE", "/ceph/{username}/{bucketname}/deletions/{name}"),
    ("POST", "/ceph/{username}/{bucketname}/copies"),
    ("POST", "/ceph/{username}/{bucketname}/renames"),
    ("PUT", "/ceph/{username}/{bucketname}/lifecycle"),
    ("POST", "/ceph/{username}/{bucketname}/trash/restore"),
    ("DELETE", "/ceph/{username}/{bucketname}/trash"),
    ("POST", "/mirrors/purge"),
    ("POST", "/mirrors/verify"),
    ("POST", "/mirrors/warm"),
    ("DELETE", "/mirrors/jobs/{job}"),
    ("GET", "/webhooks"),
    ("POST", "/webhooks"),
    ("GET", "/webhooks/{webhook}"),
    ("PUT", "/webhooks/{webhook}"),
    ("DELETE", "/webhooks/{webhook}"),
    ("POST", "/webhooks/{webhook}/test"),
    ("POST", "/webhooks/{webhook}/rotate"),
    ("GET", "/webhooks/{webhook}/dead"),
    ("POST", "/webhooks/{webhook}/dead/redeliver"),
    ("POST", "/webhooks/{webhook}/dead/drop"),
}
"""What the tenant's own token may do beyond that. Everything else is for admins."""
METHODS = ("get", "put", "post", "delete", "head", "patch", "options", "trace")


class House:
    """A service with a tenant, her key, her transfer under way, and the names that fill the routes' places."""

    def __init__(self, service: Service, origin: FaultOrigin) -> None:
        self.service = service
        self.bucket = Bucket(service, "alice")
        self.gate = Gate()
        origin.put("/held", b"x", header_gate=self.gate)
        self.bucket.put("k", b"hers")
        self.transfer = self.bucket.create("held", origin.url + "/held")
        hers = {"mirror": "hers.example", "origin": origin.url, "bucket": "alice___photos", "private": True}
        service.json("POST", "/mirrors/host", hers)
        job = service.json("POST", "/mirrors/purge", {"mirror": "hers.example", "prefix": "none"})["job"]
        self.kept_id, self.kept = self.token("tenant", "alice")
        places = {"username": "alice", "bucketname": "photos", "key": "k"}
        self.places = {**places, "token": self.transfer, "token_id": self.kept_id, "job": job}
        self.places["host"] = "hers.example"
        self.places["name"] = service.json("POST", "/ceph/alice/photos/deletions", {"prefix": "none/"})["id"]
        hook = {"username": "alice", "bucketname": "photos", "url": "http://127.0.0.1/hook", "events": ["key.deleted"]}
        self.places["webhook"] = service.json("POST", "/webhooks", hook)["id"]
        self.state = self.look()

    def token(self, role: str, username: str | None = None, **more: Any) -> tuple[str, str]:
        """A new token's id and secret."""
        made = self.service.json("POST", "/tokens", {"role": role, "username": username, **more})
        return made["id"], made["token"]

    def operations(self) -> set[tuple[str, str]]:
        """Every method and path template that the service has."""
        paths = self.service.json("GET", "/openapi.json", token=None)["paths"]
        return {(method.upper(), path) for path, item in paths.items() for method in METHODS if method in item}

    def ask(self, method: str, template: str, token: str | None) -> Reply:
        """One request that would do something, were it allowed."""
        bodies: dict[str, Any] = {
            "/tokens": {"role": "admin"},
            "/config": {"public_address": "https://evil.example"},
            "/mirrors/host": {"mirror": "evil.example", "origin": "http://127.0.0.1/", "bucket": "alice___photos"},
            "/mirrors/purge": {"mirror": "hers.example", "path": "/k"},
            "/mirrors/sign": {"url": "http://hers.example/k"},
            "/mirrors/verify": {"mirror": "hers.example"},
            "/mirrors/warm": {"mirror": "hers.example", "targets": ["/evil"]},
            "/ceph/{username}/{bucketname}/copies": {"source_key": "k", "key": "evil"},
            "/ceph/{username}/{bucketname}/renames": {"source_key": "k", "key": "evil"},
            "/ceph/{username}/{bucketname}/trash/restore": {"key": "k"},
            "/monitor/consistency/check": {"bucket": "alice___photos", "key": "k"},
            "/webhooks": {"username": "alice", "url": "http://127.0.0.1/evil"},
            "/webhooks/{webhook}": {"url": "http://127.0.0.1/evil"},
            "/webhooks/{webhook}/dead/redeliver": {"all": True},
            "/webhooks/{webhook}/dead/drop": {"all": True},
            "/ceph/{username}/{bucketname}/deletions": {"prefix": "k"},
            "/ceph/{username}/{bucketname}/import": {"key_url": "http://127.0.0.1/", "key_name": "k"},
            "/ceph/{username}/{bucketname}/keys": {"key_url": "http://127.0.0.1/", "key_name": "k"},
            "/ceph/{username}/{bucketname}/keys/{key}": {"key_url": "http://127.0.0.1/"},
        }
        queries = {"/explain": "?url=http://evil.example/", "/mirrors/host": "?mirror_host=evil.example"}
        queries["/mirrors/explain"] = queries["/explain"]
        queries["/webhooks"] = "?username=alice"
        queries["/mirrors/jobs"] = "?mirror=hers.example"
        target = template.format(**self.places) + queries.get(template, "")
        body = json.dumps(bodies.get(template, {})).encode() if method in {"POST", "PUT"} else None
        return self.service.call(method, target, body, {"Content-Type": "application/json"}, token=token)

    def look(self) -> Any:
        """What a refused request must not have changed."""
        tokens = {token["id"] for token in self.service.json("GET", "/tokens")["tokens"]}
        record = {name: value for name, value in self.bucket.record("k").items() if name != "url"}
        mirrors = self.service.json("GET", "/mirrors/host")
        settings = self.service.json("GET", "/config")
        webhooks = self.service.json("GET", "/webhooks")
        return (
            record,
            mirrors,
            settings,
            webhooks,
            self.bucket.usage(),
            self.bucket.progress(self.transfer)["state"],
            self.kept_id in tokens,
        )


@pytest.fixture(scope="module")
def house(shared: Service, shared_origin: FaultOrigin) -> Iterator[House]:
    """The house, looked over at the end: nothing that was refused has had an effect."""
    house = House(shared, shared_origin)
    yield house
    after = house.look()
    house.gate.set()
    assert after == house.state


def strangers(house: House) -> dict[str, str | None]:
    """Callers that are nobody."""
    _, expired = house.token("admin", expires_in=0.001)
    until(lambda: house.service.call("GET", "/config", token=expired).status, lambda status: status == 401)
    revoked_id, revoked = house.token("admin")
    assert house.service.call("GET", "/config", token=revoked).status == 200
    house.service.json("DELETE", f"/tokens/{revoked_id}")
    admin = house.service.admin_token
    return {
        "none": None,
        "empty": "",
        "unknown": "cs_" + "x" * 43,
        "nearly": admin[:-1],
        "other case": admin.swapcase(),
        "expired": expired,
        "revoked": revoked,
        "id instead of secret": house.kept_id,
    }


def check_refusal(reply: Reply, status: int, what: object) -> None:
    assert reply.status == status, (what, reply.status, reply.body)
    if reply.body:
        assert reply.headers["content-type"] == "application/problem+json", what
        assert reply.json()["code"] in {"unauthenticated", "forbidden", "token_not_found"}, what
    assert ("www-authenticate" in reply.headers) == (status == 401), what


def test_the_schema_shows_the_routes_that_are_expected(house: House) -> None:
    assert house.operations() >= PUBLIC | OWN_READS | OWN_WRITES


def test_no_route_hides_from_the_schema() -> None:
    app = inspect.getclosurevars(build_api(None)).nonlocals["app"]  # type: ignore[arg-type]
    hidden: set[str] = {route.path for route in _flat(app.routes) if not getattr(route, "include_in_schema", False)}
    assert hidden == PUBLIC_DOCUMENTS | STORES_OWN


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Routes, those of included routers too."""
    for route in routes:
        included = getattr(route, "original_router", None)
        yield from [route] if included is None else _flat(included.routes)


def test_nobody_is_let_in(house: House) -> None:
    callers = strangers(house)
    for method, template in house.operations() - PUBLIC:
        for name, token in callers.items():
            check_refusal(house.ask(method, template, token), 401, (method, template, name))


@pytest.mark.parametrize(
    "header", ["Basic {}", "{}", "Bearer", "Bearer  ", "Token {}", "Bearer {}, Bearer {}", "bearer: {}"]
)
def test_other_ways_to_show_a_token(header: str, house: House) -> None:
    sent = {"Authorization": header.replace("{}", house.service.admin_token)}
    check_refusal(house.service.call("GET", "/config", None, sent, token=None), 401, header)


def test_a_token_in_the_query_is_not_looked_at(house: House) -> None:
    secret = house.service.admin_token
    for query in (f"token={secret}", f"access_token={secret}", f"authorization=Bearer%20{secret}"):
        check_refusal(house.service.call("GET", f"/config?{query}", token=None), 401, query)


def test_foreign_tenants_are_refused(house: House) -> None:
    foreign = {role: house.token(role, "bob")[1] for role in ("tenant", "read-only")}
    for method, template in house.operations() - PUBLIC:
        for role, token in foreign.items():
            # Whose transfer a token belongs to is nobody else's business: it does not exist for others.
            status = 404 if template == "/ceph/progress/{token}" else 403
            check_refusal(house.ask(method, template, token), status, (method, template, role))


def test_tenants_do_not_administer(house: House) -> None:
    _, token = house.token("tenant", "alice")
    for method, template in house.operations() - PUBLIC - OWN_READS - OWN_WRITES:
        check_refusal(house.ask(method, template, token), 403, (method, template))
    for method, template in OWN_READS:
        assert house.ask(method, template, token).status == 200


def test_read_only_tokens_only_read(house: House) -> None:
    _, own = house.token("read-only", "alice")
    _, every = house.token("read-only")
    for method, template in house.operations() - PUBLIC - OWN_READS:
        check_refusal(house.ask(method, template, own), 403, (method, template))
        if (method, template) != ("GET", "/metrics"):
            check_refusal(house.ask(method, template, every), 403, (method, template))
    for method, template in OWN_READS | {("GET", "/metrics")}:
        assert house.ask(method, template, every).status == 200
        assert house.ask(method, template, own).status == (403 if template == "/metrics" else 200)


def test_public_operations_are_public(house: House) -> None:
    for method, template in PUBLIC:
        assert house.ask(method, template, None).status == 200
    for path in ("/docs", "/openapi.json", "/docs/assets/swagger-ui.css"):
        assert house.service.call("GET", path, token=None).status == 200


def test_assets_end_at_their_folder(house: House) -> None:
    for path in (
        "/docs/assets/../app.py",
        "/docs/assets/%2e%2e/__init__.py",
        "/docs/assets//etc/passwd",
        "/docs/assets/",
    ):
        assert house.service.call("GET", path, token=None).status == 404
