"""Everything that can go wrong on purpose: two errors that stop, five warnings that do not.

An error says which input it is about, what is wrong with it, and what to do.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

__all__ = [
    "CollapseError",
    "CollapseWarning",
    "ConvergenceWarning",
    "FileFormatWarning",
    "IdentificationWarning",
    "InputError",
    "OutlierWarning",
    "require_whole",
]


class InputError(ValueError):
    """The input cannot be used as it is.

    The message names the input, says what is wrong (with the row, the column and the count where
    there are some) and what to do, in a line for each fault. The command line prints it and exits
    with 2.
    """


class CollapseError(RuntimeError):
    """Every start of EM lost a component.

    The likelihood of a Gaussian mixture has no maximum: a component that shrinks onto a single
    row, or onto a hyperplane, drives it to infinity. When all starts go there, no estimate is
    worth returning. Fewer components, or a prior, is the way out.

    Parameters
    ----------
    message : str
    collapses : sequence
        The components as last seen before they collapsed, where the search knows them.
    """

    def __init__(self, message: str, collapses: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.collapses = collapses


class ConvergenceWarning(UserWarning):
    """An algorithm stopped before it had converged: EM at `max_iter`, or chains that disagree."""


class CollapseWarning(UserWarning):
    """Components collapsed, and what is returned is what was left beside that.

    Of a fit: many starts of EM collapsed where the likelihood is unbounded, on a value that repeats
    or on the same few rows. Of a bootstrap: some refits did, and the error bars are of the others.
    """


class OutlierWarning(UserWarning):
    """One row, or a few, far from all others decide a component alone."""


class FileFormatWarning(UserWarning):
    """A file is no plain CSV file in UTF-8, and is read as what was detected."""


class IdentificationWarning(UserWarning):
    """The posterior does not tell the components apart, so that their names mean little.

    Sums over components (densities, predictions, the invariants of a posterior result) stay
    trustworthy; statements about "component 2" do not.
    """


def require_whole(name: str, value: Any, least: int) -> None:
    """Check that an argument is a whole number that is large enough."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} must be a whole number >= {least}; got {value!r}")
