r"""Regular expressions in rules: a subset that can't stop the service, checked when the rule is made.

Allowed are characters, ``.``, classes (``[a-z]``, ``[^/]``, ``\d``, ``\w``, ``\s``), groups, ``|``, and ``?``, ``*``,
``+``, ``{m,n}`` behind one character or class; a group may have ``?``. An expression stands for the whole path.

What makes backtracking explode is a repetition that can end at several places. One whose class the text behind it
can't begin with (``[^/]+/``) ends at just one. So the ways to match are counted: at most two repetitions may be
open-ended, and paths are at most ``LONGEST`` characters long. What is accepted is written anew from what was
understood, so that the check and the engine can't differ.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 2048
"""Characters of a path that an expression is tried on; longer ones are refused by mirrors that have such rules."""
_BUDGET = 2 * LONGEST * LONGEST
_MOST = 500
_OTHER, _END = 128, 129
_ALL = frozenset(range(_OTHER + 1))
_CLASSES = {
    "d": frozenset(map(ord, "0123456789")),
    "s": frozenset(map(ord, " \t\n\r\f\v")),
    "w": frozenset(code for code in range(128) if chr(code).isalnum() or chr(code) == "_"),
}
_QUANTIFIER = re.compile(r"[?*+]|\{(\d{1,3})(?:(,)(\d{0,3}))?\}")
_SPECIAL = frozenset("()[]{}?*+|^$\\.")
Symbols = frozenset[int]


class BadExpression(ValueError):
    """The expression is not one of the subset; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A character, class or group with its quantifier. ``symbols`` is None for a group."""

    text: str
    low: int
    high: int
    symbols: Symbols | None = None
    branches: "tuple[tuple[_Item, ...], ...]" = ()


@lru_cache(maxsize=1024)
def expression(text: str) -> re.Pattern[str]:
    """The compiled expression, for ``fullmatch``. Raises BadExpression."""
    if not text or len(text) > _MOST:
        raise BadExpression(f"an expression has 1 to {_MOST} characters")
    branches = _Reader(text.removeprefix("^")).read()
    ways, scan, _, _ = _weigh_branches(branches, frozenset({_END}))
    if ways * max(1, scan) > _BUDGET:
        raise BadExpression(
            "it could match in too many ways: write classes that end where the next character begins, "
            "as in [^/]+/ in place of .+/, so that at most two repetitions are open-ended"
        )
    return re.compile(_written(branches), re.ASCII | re.DOTALL)


class _Reader:
    """Reads the subset; everything else is refused."""

    def __init__(self, text: str) -> None:
        self._text = text[:-1] if text.endswith("$") and not text.endswith("\\$") else text
        self._at = 0

    def read(self) -> tuple[tuple[_Item, ...], ...]:
        branches = self._branches()
        if self._at < len(self._text):
            raise BadExpression("it has a ')' without its '('")
        return branches

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        taken = self._next()
        if not taken:
            raise BadExpression("it ends in the middle of a group, class or escape")
        self._at += 1
        return taken

    def _branches(self) -> tuple[tuple[_Item, ...], ...]:
        branches: list[tuple[_Item, ...]] = []
        items: list[_Item] = []
        while (character := self._next()) not in {"", ")"}:
            if character == "|":
                self._take()
                branches.append(tuple(items))
                items = []
            else:
                items.append(self._item())
        return (*branches, tuple(items))

    def _item(self) -> _Item:
        character = self._take()
        if character == "(":
            return self._group()
        text, symbols = self._single(character)
        low, high, quantifier = self._quantifier()
        return _Item(text + quantifier, low, high, symbols)

    def _group(self) -> _Item:
        opening = "("
        if self._next() == "?":
            if not self._text.startswith("?:", self._at):
                raise BadExpression("of '(?...)' only '(?:...)' is allowed: no lookaround, no flags, no names")
            self._at += 2
            opening = "(?:"
        branches = self._branches()
        if self._take() != ")":
            raise BadExpression("it has a '(' without its ')'")
        low, high, quantifier = self._quantifier()
        if (low, high) not in {(1, 1), (0, 1)}:
            raise BadExpression("a group may be optional, but not repeated: repeat a class of characters instead")
        return _Item(f"{opening}{_written(branches)}){quantifier}", low, high, branches=branches)

    def _quantifier(self) -> tuple[int, int, str]:
        found = _QUANTIFIER.match(self._text, self._at)
        if found is None:
            return 1, 1, ""
        self._at = found.end()
        if _QUANTIFIER.match(self._text, self._at):
            raise BadExpression("a repetition is followed by another one; lazy and possessive ones are not needed here")
        if found[0] in "?*+":
            return int(found[0] == "+"), 1 if found[0] == "?" else LONGEST, found[0]
        low = int(found[1])
        high = low if not found[2] else int(found[3]) if found[3] else LONGEST
        if high < low:
            raise BadExpression(f"{found[0]} ends before it begins")
        return low, high, found[0]

    def _single(self, character: str) -> tuple[str, Symbols]:
        if character == ".":
            return ".", _ALL
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        if character in _SPECIAL:
            raise BadExpression(f"{character!r} stands where it means nothing; write '\\{character}' for the character")
        return re.escape(character), _symbol(character)

    def _escape(self) -> tuple[str, Symbols]:
        character = self._take()
        if character.lower() in _CLASSES:
            symbols = _CLASSES[character.lower()]
            return f"\\{character}", symbols if character.islower() else _ALL - symbols
        if character.isalnum():
            raise BadExpression(f"'\\{character}' is not known; there are \\d, \\w, \\s and escaped punctuation")
        return re.escape(character), _symbol(character)

    def _class(self) -> tuple[str, Symbols]:
        negated = self._next() == "^"
        self._at += negated
        written, symbols = "", frozenset[int]()
        while (character := self._take()) != "]":
            if character == "[":
                raise BadExpression("inside a class '[' must be escaped")
            text, held = self._escape() if character == "\\" else (re.escape(character), _symbol(character))
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in {"", "]"}:
                text, held = self._range(text)
            written, symbols = written + text, symbols | held
        if not written:
            raise BadExpression("a class is empty")
        return f"[{'^' * negated}{written}]", _ALL - (symbols - {_OTHER}) if negated else symbols

    def _range(self, first: str) -> tuple[str, Symbols]:
        self._take()
        last = self._take()
        last = self._escape()[0] if last == "\\" else re.escape(last)
        low, high = first.removeprefix("\\"), last.removeprefix("\\")
        if first[1:].isalpha() or last[1:].isalpha() or low > high:
            raise BadExpression(f"{first}-{last} is no range of characters")
        symbols = frozenset(min(code, _OTHER) for code in range(ord(low), min(ord(high), _OTHER) + 1))
        return f"{first}-{last}", symbols | _symbol(low) | _symbol(high)


def _symbol(character: str) -> Symbols:
    """A character as the check sees it: those beyond ASCII are one."""
    return frozenset({min(ord(character), _OTHER)})


def _written(branches: tuple[tuple[_Item, ...], ...]) -> str:
    return "|".join("".join(item.text for item in items) for items in branches)


def _weigh_branches(branches: tuple[tuple[_Item, ...], ...], follow: Symbols) -> tuple[int, int, Symbols, bool]:
    """Ways to match, characters scanned by settled repetitions, what it can begin with, whether it can be empty.

    ``follow`` is what can stand behind it.
    """
    weighed = [_weigh(items, follow) for items in branches]
    firsts = frozenset[int]().union(*(first for _, _, first, _ in weighed))
    return (
        sum(ways for ways, _, _, _ in weighed),
        max(scan for _, scan, _, _ in weighed),
        firsts,
        any(empty for _, _, _, empty in weighed),
    )


def _weigh(items: tuple[_Item, ...], follow: Symbols) -> tuple[int, int, Symbols, bool]:
    ways, scan, first, empty = 1, 0, frozenset[int](), True
    for item in reversed(items):
        behind = first | follow if empty else first
        if item.symbols is None:
            inner, inner_scan, begins, can_be_empty = _weigh_branches(item.branches, behind)
            ways, scan = ways * (inner + (item.low == 0)), max(scan, inner_scan)
            optional = can_be_empty or item.low == 0
        else:
            begins, optional, spread = item.symbols, item.low == 0, item.high - item.low
            if begins & behind:
                ways *= spread + 1
            else:
                scan = max(scan, spread)
        first = begins | first if optional else begins
        empty = empty and optional
    return ways, scan, first, empty
