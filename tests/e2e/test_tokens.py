"""Access tokens: what each role can do, shown once, listed without secrets, ended at once."""

import json
from typing import Any

import pytest

from tests.harness.bucket import Bucket
from tests.harness.service import Service


def make(service: Service, role: str, username: str | None = None, **more: Any) -> Any:
    return service.json("POST", "/tokens", {"role": role, "username": username, **more})


def test_a_tenant_does_her_own_things(bucket: Bucket) -> None:
    service = bucket.service
    token = make(service, "tenant", bucket.username)["token"]
    path = f"/ceph/{bucket.username}/own"
    assert service.call("PUT", path, token=token).status == 201
    assert service.call("PUT", f"{path}/keys/k", b"mine", token=token).status == 201
    assert service.call("GET", f"{path}/keys/k", token=token).json()["size"] == 4
    assert service.call("DELETE", f"{path}/keys/k", token=token).status == 200
    assert service.call("DELETE", path, token=token).status == 200


def test_an_admin_made_by_an_admin(shared: Service) -> None:
    token = make(shared, "admin", label="second")["token"]
    assert shared.call("GET", "/config", token=token).status == 200
    assert shared.call("PUT", "/ceph/anybody/photos", token=token).status == 201


def test_secrets_are_shown_once(shared: Service) -> None:
    made = make(shared, "read-only", "carol", label="backup", expires_in=3600)
    assert made["expires"] == pytest.approx(made["created"] + 3600)
    raw = shared.call("GET", "/tokens").body.decode()
    assert made["token"] not in raw
    assert shared.admin_token not in raw
    (listed,) = [token for token in shared.json("GET", "/tokens")["tokens"] if token["id"] == made["id"]]
    assert listed == {name: value for name, value in made.items() if name != "token"}


def test_secrets_are_nowhere_on_the_disk_or_in_the_log(shared: Service) -> None:
    secret = make(shared, "tenant", "carol")["token"]
    shared.call("GET", "/ceph/carol", token=secret)
    files = [path for path in shared.data_dir.rglob("*") if path.is_file()]
    assert {path.name for path in files if secret.encode() in path.read_bytes()} == set()
    admin = shared.admin_token.encode()
    assert {path.name for path in files if admin in path.read_bytes()} == {"admin-token"}
    assert (shared.data_dir / "admin-token").stat().st_mode & 0o777 == 0o600
    assert secret not in shared.log()
    assert shared.admin_token not in shared.log()


def test_revoking_works_at_once(shared: Service) -> None:
    made = make(shared, "tenant", "carol")
    assert shared.call("GET", "/ceph/carol", token=made["token"]).status == 200
    assert shared.json("DELETE", f"/tokens/{made['id']}") == {"msg": "token_revoked"}
    assert shared.call("GET", "/ceph/carol", token=made["token"]).status == 401
    again = shared.call("DELETE", f"/tokens/{made['id']}")
    assert (again.status, again.json()["code"]) == (404, "access_token_not_found")


@pytest.mark.parametrize(
    "wish",
    [
        {"role": "tenant"},
        {"role": "admin", "username": "alice"},
        {"role": "tenant", "username": "Not A Name"},
        {"role": "root"},
        {"role": "admin", "expires_in": 0},
        {"role": "admin", "expires_in": -1},
        {"role": "admin", "expires_in": "soon"},
        {"role": "admin", "label": "x" * 201},
        {"role": "admin", "surprise": 1},
        {"role": "admin", "label": "no database\0keeps this"},
        {},
    ],
)
def test_bad_wishes(wish: dict[str, Any], shared: Service) -> None:
    reply = shared.call("POST", "/tokens", json.dumps(wish).encode(), {"Content-Type": "application/json"})
    assert reply.status == 400
    assert reply.json()["code"] in {"invalid_request", "invalid_name"}
