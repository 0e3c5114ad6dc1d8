"""Which copy of a compiled function runs: the one that the process loaded first.

Machine code that calls a compiled function carries a copy of it, but is linked to another one if
that is loaded already. With sums that may be reassociated, copies can differ in the last bit, and a
chain remembers the last bit. So a pass is loaded by itself before anything that calls it: then the
draws of a seed depend neither on whether the cache was cold nor on what ran before.
"""

from typing import Any

from numba import types


def load(function: Any, *arguments: types.Type) -> None:
    """Load a function from the cache, or compile it, if that has not been done.

    Parameters
    ----------
    function : callable
        Made by `numba.njit`.
    *arguments : numba.types.Type
        As the calls will have them.
    """
    function.compile(arguments)
