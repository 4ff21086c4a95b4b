"""What an object store was seen to do and not to do: remembered, so that not every start of every process tries it.

An ability that is needed and missing makes the store unusable, though it answers; one that is only useful
says what is done without it.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from cephstorage.domain.errors import StoreMisconfigured

ABILITIES_SETTING = "store_abilities"
"""Name of what is remembered, in the table of settings."""
REMEMBERED_FOR = 86400.0
"""Seconds; a gateway may have been upgraded, or set differently, under the same address."""
LONGEST_TRY = 60.0
"""Seconds that trying everything may take. What is left of a try that began earlier is nobody's any more."""
_CLAIM = 1.5 * LONGEST_TRY
_MISSING_FOR = 30.0
"""Seconds for which it is remembered that something needed is missing: somebody is mending it."""


@dataclass(frozen=True, slots=True)
class Ability:
    """Something that a store can do or can't. ``without``: what follows where it can't, and what to do about it.

    ``needed``: the service does not work without it.
    """

    name: str
    able: bool
    without: str
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one gateway was seen to do at a time (epoch seconds). ``release`` is how it names itself; RGW 16 does not."""

    gateway: str
    release: str
    tried_at: float
    found: tuple[Ability, ...]

    def speaks_of(self, gateway: str, now: float) -> bool:
        """Whether this is about that gateway, and recent enough."""
        return self.gateway == gateway and 0 <= now - self.tried_at < self.lifetime

    @property
    def lifetime(self) -> float:
        """Seconds for which this counts."""
        return _MISSING_FOR if self.missing else REMEMBERED_FOR

    @property
    def able(self) -> list[str]:
        """Names of what it can do."""
        return [ability.name for ability in self.found if ability.able]

    @property
    def lacking(self) -> list[Ability]:
        """What it can't do."""
        return [ability for ability in self.found if not ability.able]

    @property
    def missing(self) -> list[Ability]:
        """What it can't do although the service needs it."""
        return [ability for ability in self.lacking if ability.needed]

    def said(self) -> str:
        """One line. Raises StoreMisconfigured when something is missing."""
        if self.missing:
            raise StoreMisconfigured(f"The Ceph gateway {self.gateway} can't do what is needed: {told(self.missing)}")
        lacks = f"; not {', '.join(ability.name for ability in self.lacking)}" if self.lacking else ""
        return f"{', '.join(self.able)}{lacks}"

    def text(self) -> str:
        """For keeping; ``parse`` reads it."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Claim:
    """A process tries a gateway until a time (epoch seconds); the others wait for what it finds."""

    gateway: str
    owner: str
    until: float

    @classmethod
    def made(cls, gateway: str, owner: str, now: float) -> "Claim":
        """A claim from now on."""
        return cls(gateway, owner, now + _CLAIM)

    def text(self) -> str:
        """For keeping; ``parse`` reads it."""
        return json.dumps(asdict(self))


def parse(kept: str | None) -> Abilities | Claim | None:
    """What is kept; None where nothing is, or something that another version wrote."""
    try:
        fields = json.loads(kept or "null")
        if "owner" in fields:
            return Claim(**fields)
        found = tuple(Ability(**ability) for ability in fields.pop("found"))
        return Abilities(**fields, found=found)
    except (ValueError, TypeError, KeyError):
        return None


def told(abilities: Iterable[Ability]) -> str:
    """Names, and what follows from their lack."""
    return " ".join(f"{ability.name}: {ability.without}" for ability in abilities)
