"""Domain values as JSON text, and back.

One codec reads the dataclasses themselves, so that a new field needs no change here: a field that an
older row lacks takes its default, one that this version does not know is left out.
"""

import dataclasses
import json
import types
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from cephstorage.domain.names import BucketName

T = TypeVar("T")
Reader = Callable[[Any], Any]


def to_json(value: Any, *, without: frozenset[str] = frozenset()) -> str:
    """A domain value as compact JSON; ``without`` names fields of the outermost value that stand elsewhere.

    Written in ASCII: origin headers may hold code points that no text column accepts.
    """
    plain = _plain(value)
    if without:
        plain = {name: item for name, item in plain.items() if name not in without}
    return json.dumps(plain, separators=(",", ":"))


def from_json(cls: Callable[..., T], text: str, **fields: Any) -> T:
    """Read what ``to_json`` wrote; ``fields`` are those that stood elsewhere, as domain values."""
    known: dict[str, Reader] = _field_readers(cls)
    items = json.loads(text).items()
    return cls(**{name: known[name](item) for name, item in items if name in known}, **fields)


def from_json_or_none(cls: Callable[..., T], text: str | None) -> T | None:
    """Like ``from_json``; None for NULL."""
    return None if text is None else from_json(cls, text)


def to_json_or_none(value: Any) -> str | None:
    """Like ``to_json``; NULL for None."""
    return None if value is None else to_json(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BucketName):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@cache
def _field_readers(cls: Any) -> dict[str, Reader]:
    hints = get_type_hints(cls)
    return {field.name: _reader(hints[field.name]) for field in dataclasses.fields(cls)}


def _reader(hint: Any) -> Reader:
    """A function that reads a value of this type from its JSON form."""
    if get_origin(hint) in {Union, types.UnionType}:
        return _optional(hint)
    if get_origin(hint) is tuple:
        item = _reader(get_args(hint)[0])
        return tuple if item is _as_it_is else lambda value: tuple([item(each) for each in value])
    if hint is BucketName:
        return BucketName.parse
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        known = _field_readers(hint)
        return lambda value: hint(**{name: known[name](item) for name, item in value.items() if name in known})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _optional(hint: Any) -> Reader:
    (inner,) = (_reader(arg) for arg in get_args(hint) if arg is not type(None))
    return lambda value: None if value is None else inner(value)
