"""MongoDB's Extended JSON, one document a line, as mongoexport writes it.

Version 2, canonical and relaxed, and the dates of version 1. Source: the MongoDB manual, "MongoDB Extended JSON" and
"mongoexport". A type that no field of ours can have becomes ``Opaque``: it does no harm in a field that nobody reads.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from cephstorage.domain.errors import InvalidDocument

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_OID = re.compile(r"[0-9a-fA-F]{24}")
_BITS_32, _BITS_64 = 1 << 31, 1 << 63


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, in epoch seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value of a type that is not read here; ``kind`` is its name there, such as ``$binary``."""

    kind: str


def read_document(line: bytes) -> Mapping[str, Any]:
    """The document of a line: texts, numbers, booleans, None, ``Moment``, ``Opaque``, lists and mappings of these.

    Raises InvalidDocument.
    """
    try:
        found = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_value, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidDocument("The line is not UTF-8.") from error
    except json.JSONDecodeError as error:
        raise InvalidDocument(
            f"The line is no JSON document ({error.msg} at column {error.colno}); mongoexport writes one document a line "
            "unless it is told --pretty."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidDocument("The line holds a number too long, or is nested too deep.") from error
    if isinstance(found, list):
        raise InvalidDocument("The line is a list: export without --jsonArray, one document a line.")
    if not isinstance(found, dict):
        raise InvalidDocument("The line is JSON, but no document.")
    return found


def _no_constant(name: str) -> None:
    raise InvalidDocument(f"{name} is no JSON.")


def _value(pairs: Sequence[tuple[str, Any]]) -> Any:
    """What a JSON object stands for: a typed value, or a document."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise InvalidDocument("A field stands in the document twice.")
    if not any(name.startswith("$") for name in names):
        return dict(pairs)
    if len(pairs) == 1 and names[0] in _TYPES:
        return _typed(names[0], pairs[0][1])
    return Opaque(next(name for name in names if name.startswith("$")))


def _typed(name: str, written: Any) -> Any:
    try:
        return _TYPES[name](written)
    except (ValueError, TypeError, KeyError, OverflowError, InvalidOperation) as error:
        raise InvalidDocument(f"{name}: {str(written)[:100]!r} is no value of this type.") from error


def _date(written: Any) -> Moment:
    """Milliseconds since the epoch (canonical, after ``$numberLong`` has been read), or ISO 8601 (relaxed)."""
    if isinstance(written, int) and not isinstance(written, bool):
        return Moment((_EPOCH + timedelta(milliseconds=written) - _EPOCH).total_seconds())
    moment = datetime.fromisoformat(written)
    return Moment(((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds())


def _whole(limit: int) -> Callable[[Any], int]:
    def read(written: Any) -> int:
        if not _WHOLE.fullmatch(written) or not -limit <= int(written) < limit:
            raise ValueError(written)
        return int(written)

    return read


def _decimal(written: Any) -> int | float:
    number = Decimal(written)
    whole = number.is_finite() and -_BITS_64 <= number < _BITS_64 and number == number.to_integral_value()
    return int(number) if whole else float(number)


def _oid(written: Any) -> str:
    if not _OID.fullmatch(written):
        raise ValueError(written)
    return str(written)


def _text(written: Any) -> str:
    if not isinstance(written, str):
        raise TypeError(written)
    return written


def _double(written: Any) -> float:
    return float(_text(written))


def _timestamp(written: Any) -> Moment:
    return Moment(float(int(written["t"])))


_TYPES: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "$oid": _oid,
        "$date": _date,
        "$numberInt": _whole(_BITS_32),
        "$numberLong": _whole(_BITS_64),
        "$numberDouble": _double,
        "$numberDecimal": _decimal,
        "$uuid": _text,
        "$symbol": _text,
        "$timestamp": _timestamp,
    }
)
