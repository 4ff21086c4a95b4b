"""Requests made from the API's own schema: no crash, and answers of the kinds that the schema promises."""

from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.harness.bucket import Bucket
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # the requests are drawn at random; what nginx lets through is the same

EXAMPLES = 25
"""Requests of each kind for each operation."""
KNOWN = {"username": "alice", "bucketname": "photos", "key": "k"}
"""Names that exist: generated ones would seldom get past the door."""


def without_examples(node: Any) -> Any:
    """The schema without its examples, which name hosts that are not this machine."""
    if isinstance(node, dict):
        return {name: without_examples(value) for name, value in node.items() if name not in {"example", "examples"}}
    return [without_examples(item) for item in node] if isinstance(node, list) else node


def with_known_names(schema: Any) -> Any:
    """The schema with path parameters that are sometimes names that exist."""
    for item in schema["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"] in KNOWN:
                    known = {"const": KNOWN[parameter["name"]]}
                    parameter["schema"] = {"anyOf": [known, parameter["schema"]]}
    return schema


def with_folders_below(folder: Path, schema: Any) -> Any:
    """The schema with a spool that stays where the test may write: the service makes the folder it is told."""
    schema["components"]["schemas"]["ChangeConfig"]["properties"]["download_path"] = {
        "anyOf": [{"const": str(folder / "spool")}, {"const": "relative"}, {"type": "null"}]
    }
    return schema


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_generated_requests(mode: GenerationMode, shared: Service) -> None:
    Bucket(shared, "alice").put("k", b"x")
    raw_schema = with_known_names(without_examples(shared.json("GET", "/openapi.json", token=None)))
    raw_schema = with_folders_below(shared.data_dir, raw_schema)
    schema = schemathesis.openapi.from_dict(raw_schema)
    headers = {"Authorization": f"Bearer {shared.admin_token}"}
    with requests.Session() as session:
        session.trust_env = False

        def ask(case: Case) -> None:
            answer = case.call(base_url=shared.url, session=session, headers=headers)
            checks = [not_a_server_error, content_type_conformance, status_code_conformance]
            case.validate_response(answer, checks=checks)

        operations = [result.ok() for result in schema.get_all_operations()]
        assert len(operations) >= 25
        for operation in operations:
            described = raw_schema["paths"][operation.path][operation.method]
            if mode is GenerationMode.NEGATIVE and not described.keys() & {"parameters", "requestBody"}:
                continue  # where nothing is taken, nothing can be wrong
            generated = operation.as_strategy(generation_mode=mode)
            settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(given(case=generated)(ask))()
    assert "Traceback" not in shared.log()
