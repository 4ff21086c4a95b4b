"""Which parts of the texts that are looked for an index of trigrams is asked about.

It reads a list for each trigram, as long as there are names with it, and keeps what all lists have. So the trigrams
that a fifth of all names have cost the most and say the least: the rare ones find the names nearly alone, and what
they find is compared with the whole texts. What is frequent is seen in a sample of names.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import groupby

from cephstorage.index.names import TRIGRAM, Names

_RARE = 25
"""A trigram is rare that at most one in so many names of the sample has."""
_WORD = re.compile(rf"[A-Za-z0-9]{{{TRIGRAM}}}")
"""Others the index knows with blanks for what is no letter or digit (PostgreSQL manual, F.35); most names have those."""


def frequent_trigrams(sample: Sequence[str]) -> frozenset[str]:
    """The trigrams that are not rare, in lower case: the index knows no other."""
    counted = Counter(trigram for name in sample for trigram in set(_trigrams(name.lower())))
    return frozenset(trigram for trigram, names in counted.items() if names > len(sample) // _RARE)


def rare_parts(names: Names, frequent: Collection[str]) -> Names:
    """The longest parts of the texts that have rare trigrams only, if any. Every name with the texts has these, too."""

    def rare(trigram: str) -> bool:
        return _WORD.fullmatch(trigram) is not None and trigram.lower() not in frequent

    parts = []
    for text in names.given:
        for is_rare, run in groupby(_trigrams(text), rare):
            if is_rare:
                first, *others = run
                parts.append(first + "".join(each[-1] for each in others))
    return Names(tuple(parts))


def _trigrams(text: str) -> list[str]:
    return [text[start : start + TRIGRAM] for start in range(len(text) - TRIGRAM + 1)]
