"""Everything that can go wrong on purpose: two errors that stop, three warnings that do not.

An error says in one line which input it is about, what is wrong with it, and what to do.
"""

from numbers import Integral
from typing import Any

__all__ = [
    "CollapseError",
    "CollapseWarning",
    "ConvergenceWarning",
    "IdentificationWarning",
    "InputError",
    "require_whole",
]


class InputError(ValueError):
    """The input cannot be used as it is.

    The message is one line: it names the input, says what is wrong (with the row, the column and
    the count where there are some) and what to do. The command line prints it and exits with 2.
    """


class CollapseError(RuntimeError):
    """Every start of EM lost a component.

    The likelihood of a Gaussian mixture has no maximum: a component that shrinks onto a single
    row, or onto a hyperplane, drives it to infinity. When all starts go there, no estimate is
    worth returning. Fewer components, or a prior, is the way out.
    """


class ConvergenceWarning(UserWarning):
    """An algorithm stopped before it had converged: EM at `max_iter`, or chains that disagree."""


class CollapseWarning(UserWarning):
    """Some refits of a bootstrap lost a component; the error bars are of the others."""


class IdentificationWarning(UserWarning):
    """The posterior does not tell the components apart, so that their names mean little.

    Sums over components (densities, predictions, the invariants of a posterior result) stay
    trustworthy; statements about "component 2" do not.
    """


def require_whole(name: str, value: Any, least: int) -> None:
    """Check that an argument is a whole number that is large enough.

    Parameters
    ----------
    name : str
        What the error message calls it.
    value : object
    least : int

    Raises
    ------
    InputError
        If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} must be a whole number >= {least}; got {value!r}")
