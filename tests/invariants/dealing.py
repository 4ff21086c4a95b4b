"""Few examples that are worth many: deeds, and what they are done with, are dealt from shuffled decks.

Hypothesis is made for many examples: the first is the simplest there is, each has but some of the rules, and some repeat
what others did. Where there is time for a handful, that would leave most deeds untried.
"""

import inspect
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from hypothesis import currently_in_test_context, note
from hypothesis import strategies as st
from hypothesis.stateful import rule

Deed = Callable[..., None]
EITHER = (False, True)
_CHOICES, _TIMES = "choices", "times"


class Machine(Protocol):
    """An example under way: what must be ``held`` after each of its deeds."""

    def held(self) -> None: ...

    def teardown(self) -> None: ...


def deed(*, times: int = 1, **choices: Sequence[Any]) -> Callable[[Deed], Deed]:
    """A rule of a machine. ``choices``: by the parameter's name, what may be given. ``times``: how often it is dealt."""

    def mark(function: Deed) -> Deed:
        rules: Any = rule
        marked: Deed = rules(**{name: st.sampled_from(values) for name, values in choices.items()})(function)
        setattr(marked, _CHOICES, choices)
        setattr(marked, _TIMES, times)
        return marked

    return mark


class Dealer:
    """Deals in an order of its own, the same in every run: each choice once before any comes again."""

    def __init__(self) -> None:
        self._random = random.Random(0)
        self._decks: dict[tuple[str, ...], list[Any]] = {}

    def deal(self, name: tuple[str, ...], choices: Sequence[Any]) -> Any:
        """The next of the choices that go by a name."""
        deck = self._decks.setdefault(name, [])
        if not deck:
            deck += choices
            self._random.shuffle(deck)
        return deck.pop()

    def deeds(self, machine: type[Machine]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Deeds of a machine without end, each with what it is done with."""
        members = inspect.getmembers(machine, lambda member: hasattr(member, _CHOICES))
        known = {name: getattr(member, _CHOICES) for name, member in members}
        deck = [name for name, member in members for _ in range(getattr(member, _TIMES))]
        while True:
            name = self.deal((), deck)
            yield name, {given: self.deal((name, given), values) for given, values in known[name].items()}


def run_dealt(machine: type[Machine], examples: int, steps: int) -> None:
    """Run examples, the same ones each time as long as the machine is the same. What is done is printed."""
    deeds = Dealer().deeds(machine)
    for _ in range(examples):
        running = machine()
        print(machine.__name__)
        try:
            running.held()
            for name, given in itertools.islice(deeds, steps):
                remark(f"{name}({', '.join(f'{parameter}={value!r}' for parameter, value in given.items())})")
                getattr(running, name)(**given)
                running.held()
        finally:
            running.teardown()


def remark(text: str) -> None:
    """Say something for whoever reads of a failure."""
    (note if currently_in_test_context() else print)(text)
