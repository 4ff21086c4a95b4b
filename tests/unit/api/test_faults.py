"""What a caller reads when a body makes no sense: the place and the remedy, and nothing of how we are built."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from cephstorage.api.copies import CopyKey
from cephstorage.api.exchange import ExportedKey
from cephstorage.api.faults import place, told
from cephstorage.api.lifecycles import ChangeLifecycle

COPY = {"source_key": "a", "key": "b"}


@pytest.mark.parametrize(
    ("model", "body", "said"),
    [
        (CopyKey, {**COPY, "expires": []}, "expires: Input should be a valid string."),
        (CopyKey, {**COPY, "metadata": {"a": 1}}, "metadata.a: Input should be a valid string."),
        (CopyKey, {**COPY, "metadata": []}, "metadata: Input should be an object."),
        (CopyKey, [], "body: Input should be an object."),
        (ExportedKey, None, "body: Input should be an object."),
        (ChangeLifecycle, {"rules": [{"prefix": "a"}]}, "Rule 1, field 'days': Field required."),
    ],
)
def test_a_fault_is_told_without_names_of_ours(model: type[BaseModel], body: Any, said: str) -> None:
    with pytest.raises(ValidationError) as failed:
        model.model_validate(body)
    assert told(failed.value.errors()[0]) == said


def test_what_is_no_json_is_said_to_be_none() -> None:
    with pytest.raises(ValidationError) as failed:
        CopyKey.model_validate_json(b"{")
    assert told(failed.value.errors()[0]).startswith("The body is not valid JSON: EOF while parsing")


def test_places() -> None:
    assert place(("body", "function-after[_encodable(), str]")) == "body"
    assert place(("query", "limit")) == "query.limit"
    assert place(("body", "rules", 0)) == "Rule 1"
