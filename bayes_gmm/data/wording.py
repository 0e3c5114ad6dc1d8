"""Names and values in messages about tables."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import numpy as np

from bayes_gmm.errors import InputError

LONGEST_LIST = 8
LONGEST_VALUE = 30


def listing(items: Iterable[Any]) -> str:
    """Join items by commas; of many items, the first ones and the number of the others."""
    texts = [str(item).replace("\n", " ") for item in items]
    more = [f"and {len(texts) - LONGEST_LIST} more"] if len(texts) > LONGEST_LIST else []
    return ", ".join(texts[:LONGEST_LIST] + more)


def shorten(value: Any) -> str:
    """The repr of one value, on one line and shortened."""
    plain = value.item() if isinstance(value, np.generic) else value
    text = " ".join(repr(plain).split())
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "..."


def require_distinct(names: Iterable[Any], what: str) -> None:
    """Raise if two columns have the same name."""
    seen: set[str] = set()
    for name in map(str, names):
        if name in seen:
            raise InputError(f"{what} has two columns named {name!r}: rename one of them")
        seen.add(name)


def require_known(wanted: Iterable[str], names: Iterable[Any], what: str) -> None:
    """Raise if a table lacks a column, and suggest a similar name."""
    known = list(map(str, names))
    for name in wanted:
        if name not in known:
            longer = [one for one in known if one.casefold().startswith(str(name).casefold())]
            close = longer if len(longer) == 1 else get_close_matches(str(name), known, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"it has {listing(known)}"
            raise InputError(f"{what} has no column {name!r}: {meant}")


def free_name(name: str, taken: Iterable[Any]) -> str:
    """Lengthen a name until no column has it."""
    known = list(map(str, taken))
    while name in known:
        name += "_"
    return name
