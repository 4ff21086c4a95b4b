"""What a quota lets in: a pure account of the limits that hold and of what is stored.

An amount is bytes and keys. A limit is a bucket's or its tenant's; the tenants here have one bucket each.
"""

from dataclasses import dataclass, field

Amount = tuple[int, int]
Limit = tuple[int | None, int | None]
NO_LIMIT: Limit = (None, None)


@dataclass
class Room:
    """One bucket. ``earlier``: limits that have held since somebody last looked."""

    limits: dict[str, Limit] = field(default_factory=dict)
    earlier: list[Limit] = field(default_factory=list)
    taken: Amount = (0, 0)

    @property
    def limit(self) -> Limit:
        """The narrowest of those that hold."""
        size, keys = zip(*self.limits.values(), strict=True) if self.limits else ((), ())
        return _least(size), _least(keys)

    @property
    def bounded(self) -> bool:
        """Whether any limit holds."""
        return self.limit != NO_LIMIT

    def bound(self, holder: str, limit: Limit) -> None:
        """The bucket (or its tenant) has this limit from now on."""
        self.earlier.append(self.limit)
        self.limits[holder] = limit

    def fits(self, used: Amount, more: Amount) -> bool:
        """Whether ``more`` is to be taken while ``used`` is stored, and nothing is under way. What adds nothing is."""
        return all(
            limit is None or comes <= 0 or has + comes <= limit
            for limit, has, comes in zip(self.limit, used, more, strict=True)
        )

    def looked(self, taken: Amount) -> bool:
        """Whether this much may be stored by now: no more than a quota allows, or than was there before it came."""
        before, self.taken = self.taken, taken
        known = [*self.earlier, self.limit]
        self.earlier.clear()
        return all(
            any(limit[unit] is None or has <= max(limit[unit] or 0, before[unit]) for limit in known)
            for unit, has in enumerate(taken)
        )


def _least(limits: tuple[int | None, ...]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
