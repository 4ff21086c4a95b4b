"""What a validator finds wrong with a request, as a sentence for whoever sent it: where, and what should be there.

Names of our classes and functions, which pydantic takes into places and messages, are nobody's business.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_OBJECTS = frozenset({"model_type", "model_attributes_type", "dataclass_type", "dict_type"})


def told(fault: Mapping[str, Any], whole: str = "body") -> str:
    """One of pydantic's errors; ``whole`` is what the thing is called when it is wrong altogether."""
    if fault["type"] == "json_invalid":
        return f"The {whole} is not valid JSON: {fault['ctx']['error']}."
    msg = "Input should be an object" if fault["type"] in _OBJECTS else fault["msg"].removeprefix("Value error, ")
    return f"{place(fault['loc'], whole)}: {msg}."


def place(steps: Sequence[str | int], whole: str = "body") -> str:
    """Where in a request something is wrong; rules are counted from 1, as everywhere.

    Of something that may have one of several types, pydantic names the type that it tried: such a step has brackets.
    """
    match [step for step in steps if step != "body" and "[" not in str(step)]:
        case []:
            return whole
        case ["rules", int(number)]:
            return f"Rule {number + 1}"
        case ["rules", int(number), *rest]:
            return f"Rule {number + 1}, field '{'.'.join(map(str, rest))}'"
        case rest:
            return ".".join(map(str, rest))
