"""The API describes itself: a valid schema, and documents that a browser shows without any internet."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from openapi_spec_validator import validate
from playwright.sync_api import Browser, Route, expect, sync_playwright

from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # the document is the same everywhere

CHROMIUM = Path("/usr/bin/chromium")
"""Debian's. ``make test`` installs it."""
METHODS = ("get", "put", "post", "delete", "head")


@pytest.fixture(scope="module")
def schema(shared: Service) -> Any:
    return shared.json("GET", "/openapi.json", token=None)


def operations(schema: Any) -> dict[tuple[str, str], Any]:
    return {
        (method, path): item[method] for path, item in schema["paths"].items() for method in METHODS if method in item
    }


def test_the_schema_is_valid(schema: Any) -> None:
    validate(schema)
    assert schema["info"]["title"] == "CephStorage"


def test_every_operation_says_what_it_does(schema: Any) -> None:
    for name, operation in operations(schema).items():
        assert operation["description"].strip(), name
        assert operation["tags"], name
    identifiers = [operation["operationId"] for operation in operations(schema).values()]
    assert len(set(identifiers)) == len(identifiers)


def test_creation_has_examples(schema: Any) -> None:
    content = operations(schema)["post", "/ceph/{username}/{bucketname}/keys"]["requestBody"]["content"]
    assert set(content["application/json"]["examples"]) == {"one", "batch"}
    assert "application/x-ndjson" in content


def test_nothing_points_elsewhere(shared: Service) -> None:
    page = shared.call("GET", "/docs", token=None)
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    for attribute in ("src=", "href="):
        for piece in page.body.decode().split(attribute)[1:]:
            assert piece.lstrip("\"'").startswith("/"), piece[:80]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium that knows no host but this machine."""
    if os.environ.get("CEPHSTORAGE_TEST_SKIP_BROWSER") == "1":
        pytest.skip("CEPHSTORAGE_TEST_SKIP_BROWSER=1")
    assert CHROMIUM.exists(), "chromium is missing: install it, or set CEPHSTORAGE_TEST_SKIP_BROWSER=1"
    flags = [
        "--no-sandbox",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield launched
        launched.close()


def test_documents_in_a_browser(browser: Browser, shared: Service, schema: Any) -> None:
    blocked: list[str] = []
    errors: list[str] = []

    def only_this_machine(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            blocked.append(route.request.url)
            route.abort()

    with browser.new_context() as context:
        context.route(lambda url: not url.startswith(("data:", "blob:")), only_this_machine)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("requestfailed", lambda request: errors.append(request.url))
        page.goto(shared.url + "/docs")
        expect(page.locator(".info .title")).to_contain_text("CephStorage")
        expect(page.locator(".opblock")).to_have_count(len(operations(schema)))
        block = page.locator(".opblock", has_text="/healthz")
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        block.get_by_role("button", name="Execute").click()
        expect(block.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
        shown = block.locator(".live-responses-table .microlight").first.inner_text()
    assert json.loads(shown) == {"status": "ok"}
    assert (blocked, errors) == ([], [])
